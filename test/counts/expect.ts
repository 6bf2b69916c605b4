/** Holds what was counted against a table, and says what became more or less, and by how much. */
import type { Tally } from './tally.js'

export interface Counts {
  /** Calls of the credential store. */
  readonly store: Tally
  /** Calls of the session store; there is none behind a session in a cookie. */
  readonly session: Tally
  /** `Set-Cookie` headers: ours, and the session's. */
  readonly cookies: Tally
  /** Requests to the provider, by endpoint. The browser's own is `authorize`. */
  readonly provider: Tally
  /** Calls of node:crypto and `crypto.subtle` on our behalf. */
  readonly crypto: Tally
  /** Sealed values that were opened although they had been opened before. */
  readonly openedAgain: number
  /** Objects of our own classes. */
  readonly objects: Tally
}

/** A row of a table: what is not mentioned does not happen. */
export type Expected = Partial<Counts>

/** @throws an error that says which count changed and by how much, and what the row of the table would have to be */
export function expectCounts(what: string, counted: Counts, expected: Expected): void {
  const now = rowOf(counted)
  const changes = compare(flat(now), flat(expected))
  if (changes.length === 0) return
  throw new Error(
    `${what}: counted differently than the table says\n${changes.join('\n')}\nThe row as it is now:\n  ${write(now)}`,
  )
}

function rowOf(counts: Counts): Expected {
  const happened = Object.entries(counts).filter(([, value]) =>
    typeof value === 'number' ? value > 0 : Object.keys(value).length > 0,
  )
  return Object.fromEntries(happened)
}

function flat(row: Expected): Tally {
  const entries = Object.entries(row).flatMap(([kind, value]) =>
    typeof value === 'number'
      ? [[kind, value] as const]
      : Object.entries(value as Tally).map(([name, count]) => [`${kind}: ${name}`, count] as const),
  )
  return Object.fromEntries(entries)
}

function compare(now: Tally, table: Tally): string[] {
  return [...new Set([...Object.keys(table), ...Object.keys(now)])].flatMap((name) => {
    const [is, was] = [now[name] ?? 0, table[name] ?? 0]
    if (is === was) return []
    return [`  ${name}: ${is} instead of ${was} (${Math.abs(is - was)} ${is > was ? 'more' : 'fewer'})`]
  })
}

/** As the table has it, to be copied. */
function write(row: object): string {
  const name = (key: string) => (/^\w+$/.test(key) ? key : `'${key}'`)
  const entries = Object.entries(row).map(
    ([key, value]) => `${name(key)}: ${typeof value === 'object' ? write(value) : value}`,
  )
  return `{ ${entries.join(', ')} }`
}
