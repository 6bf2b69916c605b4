/** (e) What a request costs as things grow: stored users, processes, authorization requests that nobody ends. */
import { mkdir, writeFile } from 'node:fs/promises'
import { CORES, start } from '../lib/child.mjs'
import { median } from '../lib/statistics.mjs'
import { atMost } from '../lib/targets.mjs'
import { curvePlot, curveTable } from './growth/curve.mjs'
import { growCookies, growLinks } from './growth/pending.mjs'
import { growProcesses } from './growth/processes.mjs'
import { STORES } from './growth/servers.mjs'
import { growUsers } from './growth/users.mjs'

const TIME = 'time of a request, over the first'

/** `plot` is the figure that its plot shows. */
const CURVES = {
  users: { grow: growUsers, title: 'Stored users', x: 'stored users', y: TIME, plot: 'time' },
  processes: {
    grow: growProcesses,
    title: 'Processes over one store',
    x: 'processes on one core',
    y: 'CPU µs a request',
    plot: 'cpu',
  },
  cookies: {
    grow: growCookies,
    title: 'Flows that one browser began and never ended',
    x: 'flows begun',
    y: TIME,
    plot: 'time',
  },
  links: {
    grow: growLinks,
    title: 'Accounts that wait for a confirmation',
    x: 'accounts that wait',
    y: TIME,
    plot: 'time',
  },
}

/**
 * @param people how many are stored at most
 * @param pending how many accounts wait for a confirmation at most
 * @param curves which of them
 */
export async function growth({
  stores = Object.keys(STORES),
  people = 1_000_000,
  pending = 10_000,
  curves = Object.keys(CURVES),
  ...turns
} = {}) {
  const known = stores.filter((store) => store in STORES)
  const results = {}
  for (const name of curves) {
    const servers = []
    const options = { trusting: true, lifetime: 86_400 }
    const provider = await start(new URL('../lib/provider.mjs', import.meta.url), options, { core: CORES.others })
    try {
      results[name] = await CURVES[name].grow(provider, servers, { stores: known, people, pending, ...turns })
    } finally {
      for (const server of [...servers, provider]) await server.stop()
    }
  }
  return results
}

export function growthTable(results) {
  return Object.entries(results)
    .map(([name, rows]) => `### ${CURVES[name].title}\n\n${curveTable(CURVES[name].x, rows)}`)
    .join('\n\n')
}

/** One figure of each curve. @param folder URL */
export async function plots(results, folder) {
  await mkdir(folder, { recursive: true })
  for (const [name, rows] of Object.entries(results)) {
    await writeFile(new URL(`growth-${name}.svg`, folder), curvePlot(CURVES[name], rows, CURVES[name].plot))
  }
}

/** A request of one user among all of them takes what it took among few. */
export function targets({ users = [] }) {
  const lines = [...new Set(users.map(({ line }) => line))]
  return lines.map((line) => {
    const { at, time } = users.filter((row) => row.line === line).at(-1)
    return atMost(`${line}: time with ${at.toLocaleString('en')} users, over that with the fewest`, median(time), 1.2)
  })
}
