/** Which attack is answered by which test: reads the threat model and the names of the tests, and says what is missing. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How many attacks each section of the threat model has. */
const SECTIONS = { A: 17, B: 9, C: 10, D: 6, E: 4, F: 8, G: 7, H: 17, I: 5, J: 13, K: 8, L: 7, M: 5, N: 9 }

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MODEL = 'docs/threat-model.md'

export interface Row {
  readonly id: string
  readonly attack: string
  /** Test files that show it; none where it does not apply. */
  readonly files: readonly string[]
  /** Why it does not apply. */
  readonly reason?: string
}

export interface Coverage {
  readonly rows: readonly Row[]
  /** What is wrong, one sentence each. */
  readonly gaps: readonly string[]
  /** The whole, for people. */
  readonly table: string
}

export function allIds(): string[] {
  return Object.entries(SECTIONS).flatMap(([letter, last]) => expand(`${letter}1-${letter}${last}`))
}

/** `A1` of `A1`; `J1` and `J2` of `J1-J2` and `J1-2`. */
function expand(range: string): string[] {
  const [, letter, first, last = first] = /^([A-N])(\d+)(?:-[A-N]?(\d+))?$/.exec(range) as unknown as string[]
  const ids = []
  for (let number = Number(first); number <= Number(last); number += 1) ids.push(`${letter}${number}`)
  return ids
}

/**
 * Attack ids that names of tests begin with. Rows of a table count, for they end up in names; what is skipped or commented out does not.
 *
 * @param source text of a test file
 */
export function idsNamed(source: string): Set<string> {
  const range = '[A-N]\\d{1,2}(?:-[A-N]?\\d{1,2})?'
  const name = new RegExp(`['"\`](${range}(?:,? ${range})*)(?=:| [^'"\`]{3})`, 'g')
  const counted = source.replaceAll(/^\s*\/\/.*|\b(?:test|it|describe)\.(?:skip|todo)\b.*/gm, '')
  const ids = [...counted.matchAll(name)].flatMap(([, list = '']) => list.split(/,? /).flatMap(expand))
  return new Set(ids)
}

/** Every row of the tables that begins with an attack id. */
export function parseModel(markdown: string): Row[] {
  const rows = [...markdown.matchAll(/^\| ([A-N]\d+) \| (.+?) \| (.+?) \| (.+?) \|$/gm)]
  return rows.map(([, id = '', attack = '', , proof = '']) => {
    const files = [...proof.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, file]) => `test/${file}`)
    const reason = /^does not apply: (.+)$/.exec(proof)?.[1]
    return { id, attack, files, ...(reason === undefined ? {} : { reason }) }
  })
}

/** @param named the attack ids that each test file has in names of tests */
export function coverage(markdown: string, named: ReadonlyMap<string, ReadonlySet<string>>): Coverage {
  const rows = parseModel(markdown)
  const gaps: string[] = []
  const known = allIds()
  for (const id of known) {
    const own = rows.filter((row) => row.id === id)
    if (own.length !== 1) gaps.push(`${id} has ${own.length} rows in ${MODEL}.`)
    for (const { files, reason } of own) {
      if (files.length === 0 && reason === undefined) gaps.push(`${id} names no test, nor why it does not apply.`)
      for (const file of files) {
        if (!named.has(file)) gaps.push(`${id}: ${file} does not exist.`)
        else if (!named.get(file)?.has(id)) gaps.push(`${id}: no test in ${file} has it in its name.`)
      }
    }
  }
  for (const { id } of rows) if (!known.includes(id)) gaps.push(`${id} is in ${MODEL}, and is no attack that we know.`)
  for (const [file, ids] of named) {
    for (const id of ids)
      if (!known.includes(id)) gaps.push(`${id} is in a name in ${file}, and is no attack that we know.`)
  }
  return { rows, gaps, table: tableOf(rows, named, gaps) }
}

function tableOf(
  rows: readonly Row[],
  named: ReadonlyMap<string, ReadonlySet<string>>,
  gaps: readonly string[],
): string {
  const lines = rows.map(({ id, attack, files, reason }) => {
    const others = [...named].filter(([file, ids]) => ids.has(id) && !files.includes(file)).map(([file]) => file)
    const where = reason === undefined ? files.join(', ') : `does not apply: ${reason}`
    const also = others.length > 0 ? ` (also ${others.join(', ')})` : ''
    return `${id.padEnd(4)}${attack}\n    ${where}${also}`
  })
  return [...lines, '', gaps.length === 0 ? `${rows.length} attacks, no gaps.` : `${gaps.length} gaps:`, ...gaps].join(
    '\n',
  )
}

/** The coverage of this very project. */
export function ourCoverage(): Coverage {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .map((file) => `test/${file.replaceAll('\\', '/')}`)
    .filter((file) => file.endsWith('.test.ts') && !file.startsWith('test/attacks/coverage'))
    .sort()
  const named = new Map(files.map((file) => [file, idsNamed(readFileSync(join(ROOT, file), 'utf8'))]))
  const model = join(ROOT, MODEL)
  return coverage(existsSync(model) ? readFileSync(model, 'utf8') : '', named)
}
