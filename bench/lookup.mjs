// How long finding one user takes, among few and among many. See README.md in this folder.
import { randomInt } from 'node:crypto'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { keyOf, stores } from './stores.mjs'

const { values, positionals } = parseArgs({
  options: {
    few: { type: 'string', default: '1000' },
    many: { type: 'string', default: '1000000' },
    bytes: { type: 'string', default: '1500' },
    rounds: { type: 'string', default: '9' },
    lookups: { type: 'string', default: '3000' },
  },
  allowPositionals: true,
})
const few = Number(values.few)
const many = Number(values.many)
const bytes = Number(values.bytes)
const rounds = Number(values.rounds)
const lookups = Number(values.lookups)
const TARGET = 1.5

let stopped = false
process.once('SIGINT', () => {
  stopped = true
})
function checkStopped() {
  // So that what was filled in is removed again.
  if (stopped) throw new Error('Stopped.')
}

const ascending = (numbers) => numbers.toSorted((a, b) => a - b)
const median = (numbers) => ascending(numbers)[numbers.length >> 1]
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length
const micro = (number) => `${number.toFixed(1)} µs`
const range = (numbers) =>
  `${micro(median(numbers))} (${ascending(numbers)[0].toFixed(1)}-${ascending(numbers).at(-1).toFixed(1)})`

/** The time of each of many lookups of random users, in microseconds. */
async function round(store, users) {
  checkStopped()
  const times = []
  for (let left = lookups; left > 0; left--) {
    const key = keyOf(randomInt(users) + 1)
    const start = process.hrtime.bigint()
    const found = await store.get(key)
    times.push(Number(process.hrtime.bigint() - start) / 1000)
    if (!found) throw new Error(`${key} is missing.`)
  }
  return times
}

async function measure(name) {
  const bench = await stores[name]()
  try {
    console.log(`\n${name}: ${await bench.version()}`)
    const sizes = []
    for (const users of [few, many]) {
      const start = performance.now()
      sizes.push({ users, store: await bench.fill(users, bytes), medians: [], means: [] })
      console.log(
        `  ${users} users of ${bytes} bytes filled in after ${((performance.now() - start) / 1000).toFixed(1)} s`,
      )
    }
    for (const line of await bench.explain(many)) console.log(`  explain: ${line}`)
    for (const { store, users } of sizes) await round(store, users)
    for (let left = rounds; left > 0; left--) {
      for (const { store, users, medians, means } of sizes) {
        const times = await round(store, users)
        medians.push(median(times))
        means.push(mean(times))
      }
    }
    for (const { users, medians, means } of sizes) {
      console.log(`  ${users} users: median ${range(medians)}, mean ${range(means)}`)
    }
    const [a, b] = sizes
    const ratio = median(b.medians) / median(a.medians)
    const ofMeans = median(b.means) / median(a.means)
    console.log(
      `  ratio ${ratio.toFixed(2)} (of means ${ofMeans.toFixed(2)}): ${ratio < TARGET ? 'less' : 'NOT less'} than ${TARGET}`,
    )
    return ratio < TARGET
  } finally {
    await bench.close()
  }
}

console.log(`Node ${process.version}, ${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GB`)
console.log(`${rounds} rounds of ${lookups} lookups one after the other, few and many by turns`)
for (const name of positionals.length > 0 ? positionals : Object.keys(stores)) {
  if (!(await measure(name))) process.exitCode = 1
}
