/** Milliseconds from the start of a process to its first answer, the contenders by turns. */
import { get } from 'node:http'
import { CORES, start } from '../../lib/child.mjs'
import { markdown } from '../../lib/markdown.mjs'
import { median, spread } from '../../lib/statistics.mjs'
import { byTurns } from '../../lib/turns.mjs'

/** @param rows `{ name, title, script, options }`, of which `session` is what the others are compared with */
export async function startUp({ provider, rows, rounds = 10 }) {
  const measured = rows.map(({ name, title, script, options }) => ({ name, title, script, options }))
  await byTurns('start-up', measured, rounds, async ({ script, options }) => {
    const began = performance.now()
    const server = await start(script, { provider: provider.url, ...options }, { core: CORES.server })
    try {
      await answered(server.url + server.guarded)
      return performance.now() - began
    } finally {
      await server.ask('end')
      await server.stop()
    }
  })
  const floor = measured.find(({ name }) => name === 'session')
  return measured.map(({ name, title, runs }) => ({
    name,
    title,
    ms: runs,
    ratio: runs.map((ms, round) => ms / floor.runs[round]),
  }))
}

/** Whatever the answer is: nobody is signed in yet. */
const answered = (url) =>
  new Promise((resolve, reject) => {
    const request = get(url, { headers: { accept: 'application/json' } }, (response) => {
      response.resume().once('end', resolve)
    })
    request.once('error', reject)
  })

export const startUpTable = (results) =>
  markdown(
    ['server', 'ms to the first answer', 'over `@fastify/session`'],
    results.map(({ title, ms, ratio }) => [title, spread(ms, 0), median(ratio).toFixed(2)]),
  )
