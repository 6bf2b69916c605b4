/** Numbers by name. What did not happen is not in it. */
export type Tally = Record<string, number>

export function add(tally: Tally, name: string, count = 1): void {
  tally[name] = (tally[name] ?? 0) + count
}

export function tallyOf(names: Iterable<string>): Tally {
  const tally: Tally = {}
  for (const name of names) add(tally, name)
  return tally
}

/** What was added to a tally since. */
export function since(before: Tally, after: Tally): Tally {
  const names = Object.keys(after).filter((name) => after[name] !== (before[name] ?? 0))
  return Object.fromEntries(names.map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]))
}
