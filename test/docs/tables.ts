/** Reads the tables of the migration guides: which names of theirs a row is about, which of ours it names, and where they are. */

export interface Row {
  /** Full names: `oauth2client.client.Storage.get`. */
  readonly theirs: readonly string[]
  /** Names alone: `fetch` for `` `fetch(url, init)` ``. */
  readonly ours: readonly string[]
  /** Entry points, classes, `option`, `command`, `npm`; or `—` and `gone`. */
  readonly places: readonly string[]
  /** What the row says. */
  readonly text: string
}

const codeIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string)

/** Rows of the tables with three columns, each below a heading that names a Python module. */
export function rowsOf(markdown: string): Row[] {
  const rows: Row[] = []
  let module = ''
  for (const line of markdown.split('\n')) {
    const heading = /^#+ (?:`([\w.]+)`)?/.exec(line)
    if (heading) module = heading[1] ?? ''
    const [, first = '', text = '', places = '', rest] = line.startsWith('|') ? line.split('|') : []
    if (module === '' || rest === undefined || !first.includes('`')) continue
    rows.push({
      theirs: fullNames(codeIn(first), module),
      ours: codeIn(text).flatMap(nameIn),
      places: places.split(',').map((place) => place.replaceAll('`', '').trim()),
      text: text.trim(),
    })
  }
  return rows
}

/** Rows of "what you wrote | what you write | what changes": their names without what they belong to. */
export function wroteRowsOf(markdown: string): Omit<Row, 'places'>[] {
  const [, table = ''] = markdown.split('| what you wrote | what you write | what changes |\n|---|---|---|\n')
  const rows: Omit<Row, 'places'>[] = []
  for (const line of table.split('\n')) {
    if (!line.startsWith('|')) break
    const [, wrote = '', write = '', changes = ''] = line.split('|')
    // `credentials.client.id`, and the `'header'` that an option can be.
    const theirs = codeIn(wrote).flatMap((code) => (/^[\w.]+$/.test(code) ? code.split('.') : []))
    rows.push({ theirs, ours: codeIn(write).flatMap(nameIn), text: `${write}|${changes}` })
  }
  return rows
}

function fullNames(names: readonly string[], module: string): string[] {
  let previous = ''
  const full: string[] = []
  for (const name of names) {
    // Options of a command line are no names of Python.
    if (name.startsWith('-')) continue
    // A dot stands for the class before, which is the last name with a capital in front.
    if (!name.startsWith('.')) previous = /^(?:.*\.)?[A-Z]\w*[a-z]\w*(?=\.|$)/.exec(name)?.[0] ?? name
    full.push(`${module}.${name.startsWith('.') ? previous + name : name}`)
  }
  return full
}

function nameIn(code: string): string[] {
  // A command, and its options beside it: `login`, `login --device`.
  const [, command, flags = ''] = /^oauth2client (\w+)((?: --[\w-]+)*)/.exec(code) ?? []
  if (command) return [command, ...[...flags.matchAll(/--[\w-]+/g)].map(([flag]) => `${command} ${flag}`)]
  // Text and places are no names.
  if (/^['"[/]|^\{|^-/.test(code)) return []
  const name = /^(?:await )?([\w.-]+)/.exec(code)?.[1]?.split('.').at(-1)
  return name === undefined || CONTEXT.has(name) ? [] : [name]
}

/** Said beside names, and no names of ours. */
const CONTEXT = new Set(['oauth2', 'register', 'to_json', 'stringify', 'Headers', 'googleapis'])
