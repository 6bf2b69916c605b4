/** Picks mutants, tries the tests near them and, on those that live, all others, and says what came of it. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { createInstrumenter } from '@stryker-mutator/instrumenter'
import { createInjector } from 'typed-inject'
import { globs, near, wide } from './suites.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: 'string', default: '0.2' },
    least: { type: 'string', default: '15' },
    seed: { type: 'string', default: '1' },
    tries: { type: 'string', default: '1000' },
    longest: { type: 'string', default: '5000' },
    only: { type: 'string', default: '' },
    tests: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
})

const RESULTS = 'mutation-results.jsonl'
const FOLDERS = ['src/session', 'src/guards', 'src/routes', 'src/flows']

const places = (positionals.length > 0 ? positionals : FOLDERS).map((place) => place.split(':'))
const named = places.flatMap(([path]) =>
  statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path],
)
const sources = [...new Set(named)]
/** Lines that were named: `src/session/link.ts:72`. Of those, all mutants are tried. */
const lines = new Set(places.filter(([, line]) => line).map(([path, line]) => `${path}:${line}`))
const sample = new Map()
await instrument()
rmSync(RESULTS, { force: true })
for (const [tests, files] of groupBy(sources, values.tests ? () => globs(values.tests.split(',')) : near))
  measure(
    tests,
    files.flatMap((file) => sample.get(file)),
  )
if (!values.quick) {
  const left = results().filter(({ status }) => status === 'survived' || status === 'not run')
  if (left.length > 0) measure(wide, left)
}
print()

/** Puts every mutant of the sources into them, behind a switch, and picks those to be tried: what the seed and their text decide. */
async function instrument() {
  const silent = new Proxy({}, { get: (_, name) => () => (name.startsWith('is') ? false : undefined) })
  const instrumenter = createInjector().provideValue('logger', silent).injectFunction(createInstrumenter)
  const files = sources.map((name) => ({ name, mutate: true, content: readFileSync(name, 'utf8') }))
  const contents = new Map(files.map(({ name, content }) => [name, content]))
  const made = await instrumenter.instrument(files, { plugins: null, ignorers: [], excludedMutations: [] })
  for (const { name, content } of made.files) writeFileSync(name, `// @ts-nocheck\n${content}`)
  const orderOf = ({ fileName, location: { start, end }, mutatorName, replacement }) =>
    createHash('sha256')
      .update(
        [values.seed, fileName, start.line, start.column, end.line, end.column, mutatorName, replacement].join(':'),
      )
      .digest('hex')
  for (const [source, mutants] of groupBy(made.mutants, ({ fileName }) => fileName)) {
    const count = Math.max(Number(values.least), Math.round(mutants.length * Number(values.sample)))
    const ordered = mutants.map((mutant) => ({ ...mutant, order: orderOf(mutant) }))
    ordered.sort((a, b) => (a.order < b.order ? -1 : 1))
    const isNamed = ({ location }) => lines.has(`${source}:${location.start.line + 1}`)
    const picked = lines.size > 0 ? ordered.filter(isNamed) : ordered.slice(0, count)
    sample.set(
      source,
      picked.map((mutant) => ({ ...mutant, original: textAt(contents.get(source), mutant.location) })),
    )
  }
  for (const source of sources) if (!sample.has(source)) sample.set(source, [])
}

function measure(tests, mutants) {
  writeFileSync('mutation-sample.json', JSON.stringify(mutants.map(({ id }) => id)))
  const { tries, longest, only } = values
  const env = {
    ...process.env,
    MUTATION_TESTS: tests,
    MUTATION_TRIES: tries,
    MUTATION_LONGEST: longest,
    MUTATION_ONLY: only,
    NODE_NO_WARNINGS: '1',
  }
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/mutation/vitest.config.mjs',
    '--reporter=dot',
  ]
  spawnSync(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit'] })
}

/** The last word on each mutant of the sample. */
function results() {
  const lines = existsSync(RESULTS) ? readFileSync(RESULTS, 'utf8').split('\n').filter(Boolean) : []
  const said = groupBy(
    lines.map((line) => JSON.parse(line)),
    ({ id }) => id,
  )
  return [...sample.values()].flat().map((mutant) => {
    const all = (said.get(mutant.id) ?? []).map(({ status }) => status)
    const status = all.find((one) => one === 'killed' || one === 'timeout')
    return {
      ...mutant,
      status: status ?? (all.includes('reached') ? 'survived' : all.includes('static') ? 'static' : 'not run'),
    }
  })
}

function print() {
  const all = results()
  const statuses = ['killed', 'timeout', 'survived', 'not run', 'static']
  const line = (name, cells) =>
    console.log([name.padEnd(38), ...cells.map((cell) => String(cell).padStart(9))].join(''))
  const row = (name, some) => {
    const counts = statuses.map((status) => some.filter((one) => one.status === status).length)
    const [killed, timeout, survived, notRun] = counts
    const tried = killed + timeout + survived + notRun
    line(name, [...counts, tried === 0 ? '' : `${((100 * (killed + timeout)) / tried).toFixed(1)} %`])
  }
  line('mutants of the sample', [...statuses, 'score'])
  for (const [source, some] of groupBy(all, ({ fileName }) => fileName)) row(source, some)
  for (const [folder, some] of groupBy(all, ({ fileName }) => dirname(fileName))) row(folder, some)
  row('all', all)
  for (const { fileName, location, mutatorName, original, replacement, status } of all) {
    if (status !== 'survived' && status !== 'not run') continue
    console.log(
      `${fileName}:${location.start.line + 1} ${mutatorName} ${short(original)} -> ${short(replacement)} (${status})`,
    )
  }
}

function textAt(content, { start, end }) {
  const lines = content.split('\n').slice(start.line, end.line + 1)
  lines[lines.length - 1] = lines.at(-1).slice(0, end.column)
  lines[0] = lines[0].slice(start.column)
  return lines.join('\n')
}

function short(text) {
  const line = text.replace(/\s+/g, ' ')
  return line.length > 100 ? `${line.slice(0, 97)}...` : line
}

function groupBy(values, nameOf) {
  const groups = new Map()
  for (const value of values) groups.set(nameOf(value), [...(groups.get(nameOf(value)) ?? []), value])
  return groups
}
