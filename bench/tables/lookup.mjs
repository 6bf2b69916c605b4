/** (f) Finding one user: one `store.get` among few and among many, past everything else of an app. */
import { randomInt } from 'node:crypto'
import { markdown } from '../lib/markdown.mjs'
import { mean, median, spread } from '../lib/statistics.mjs'
import { keyOf, stores as makers } from '../lib/stores.mjs'
import { atMost } from '../lib/targets.mjs'
import { byTurns } from '../lib/turns.mjs'

/**
 * @param stores which of them
 * @param few how many users
 * @param people how many where they are many
 * @param lookups of each round, one after the other
 */
export async function lookup({
  stores = Object.keys(makers),
  few = 1_000,
  people = 1_000_000,
  bytes = 1_500,
  rounds = 9,
  lookups = 3_000,
} = {}) {
  const results = []
  for (const name of stores) {
    const bench = await makers[name]()
    try {
      const rows = []
      for (const size of [few, people]) {
        rows.push({ users: size, store: await bench.fill(size, bytes) })
        process.stderr.write(`lookup: ${name} with ${size} users of ${bytes} bytes\n`)
      }
      const explained = await bench.explain(people)
      await byTurns(`lookup in ${name}`, rows, rounds, ({ store, users: size }) => timesOf(store, size, lookups))
      const [fewer, more] = rows.map(({ runs }) => ({ medians: runs.map(median), means: runs.map(mean) }))
      results.push({ name, version: await bench.version(), users: people, few, explained, fewer, more })
    } finally {
      await bench.close()
    }
  }
  return results
}

/** The time of each of many lookups of random users, in microseconds. */
async function timesOf(store, users, lookups) {
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

const ratioOf = ({ fewer, more }) => median(more.medians) / median(fewer.medians)

export function lookupTable(results) {
  const [{ few, users }] = results
  const head = [
    'store',
    `µs among ${few.toLocaleString('en')}`,
    `µs among ${users.toLocaleString('en')}`,
    'ratio',
    'how',
  ]
  const lines = results.map((row) => [
    `${row.name}: ${row.version}`,
    spread(row.fewer.medians, 1),
    spread(row.more.medians, 1),
    ratioOf(row).toFixed(2),
    row.explained.join('; '),
  ])
  return markdown(head, lines)
}

export const targets = (results) =>
  results.map((row) => atMost(`${row.name}: a lookup among many, over one among few`, ratioOf(row), 1.5))
