/** One run of load, on one server or on several at once, and what it cost them. */
import { median } from './statistics.mjs'
import { wrk } from './wrk.mjs'

const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0)
const cpuOf = async (servers) =>
  total((await Promise.all(servers.map(({ ask }) => ask('usage')))).map(({ cpu }) => cpu))

/**
 * @param servers share the connections; not those of wrk, so that none waits for another
 * @returns requests a second of all together, milliseconds (p50 in the middle, p99 of the slowest), microseconds of CPU
 * a request
 */
export async function load(servers, path, { connections = 32, ...options }) {
  const before = await cpuOf(servers)
  const each = Math.max(1, Math.round(connections / servers.length))
  const runs = await Promise.all(servers.map(({ url }) => wrk(url + path, { connections: each, ...options })))
  const cpu = (await cpuOf(servers)) - before
  return {
    perSecond: total(runs.map(({ perSecond }) => perSecond)),
    p50: median(runs.map(({ p50 }) => p50)),
    p99: Math.max(...runs.map(({ p99 }) => p99)),
    cpu: cpu / total(runs.map(({ requests }) => requests)),
  }
}
