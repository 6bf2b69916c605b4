/** Runs the tables: Markdown to stdout, progress to stderr, figures into `results/`. See README.md in this folder. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'

const TABLES = ['guard', 'logins', 'storm', 'start', 'growth', 'lookup']
/** Whether everything works, and nothing about how fast. */
const QUICK = { rounds: 2, seconds: 1, people: 2_000, pending: 20, lookups: 300 }
const RESULTS = new URL('./results/', import.meta.url)
const PLOTS = new URL('./plots/', import.meta.url)

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    people: { type: 'string' },
    pending: { type: 'string' },
    stores: { type: 'string' },
  },
  allowPositionals: true,
})
const unknown = positionals.find((name) => !TABLES.includes(name))
if (unknown) throw new Error(`There is no table ${unknown}. There are: ${TABLES.join(', ')}.`)

const { quick, stores, ...numbers } = values
const options = {
  ...(quick ? QUICK : {}),
  ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)])),
  ...(stores ? { stores: stores.split(',') } : {}),
}
const machine = `Node ${process.version}, ${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GB`

const present = await readdir(new URL('./tables/', import.meta.url))
const wanted = positionals.length > 0 ? positionals : TABLES
const found = wanted.filter((name) => present.includes(`${name}.mjs`))
for (const name of wanted)
  if (!found.includes(name)) process.stderr.write(`${name}: left out, there is no such table\n`)

console.log(`${machine}, ${new Date().toISOString().slice(0, 10)}`)
const missed = []
for (const name of found) {
  const table = await import(`./tables/${name}.mjs`)
  const results = await table[name](options)
  const targets = table.targets?.(results) ?? []
  console.log(`\n## ${name}\n\n${table[`${name}Table`](results)}\n`)
  for (const { what, value, wanted, met } of targets) {
    const line = `- ${what}: ${value.toFixed(2)}, ${wanted}`
    console.log(met ? line : `${line}: **missed**`)
    if (!met) missed.push(line)
  }
  await mkdir(RESULTS, { recursive: true })
  const written = { machine, at: new Date().toISOString(), options, results, targets }
  await writeFile(new URL(`${name}.json`, RESULTS), `${JSON.stringify(written, undefined, 2)}\n`)
  await table.plots?.(results, PLOTS)
}
if (missed.length > 0) {
  process.stderr.write(`Missed:\n${missed.join('\n')}\n`)
  process.exitCode = 1
}
