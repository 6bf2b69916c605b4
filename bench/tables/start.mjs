/** (d) What an app pays before its first request, and while nobody asks: start-up, imports, memory, installation. */
import { CORES, start as startChild } from '../lib/child.mjs'
import { atMost } from '../lib/targets.mjs'
import { ROWS } from './guard.mjs'
import { footprint, footprintTable } from './start/footprint.mjs'
import { importRatio, imports, importsTable } from './start/imports.mjs'
import { memory, memoryTable } from './start/memory.mjs'
import { startUp, startUpTable } from './start/start-up.mjs'

const OURS = ['ours-session', 'ours-memory', 'ours-sqlite', 'ours-postgres', 'ours-redis']

const PARTS = {
  startUp: { measure: startUp, title: 'Start-up', table: startUpTable },
  imports: { measure: imports, title: 'Imports', table: importsTable },
  memory: { measure: memory, title: 'Memory of people who are signed in', table: memoryTable },
  footprint: { measure: footprint, title: 'What is installed', table: footprintTable },
}

/**
 * @param rows of table (a): those of ours that start differently, and all that are not ours
 * @param people how many sign in, where memory is measured
 * @param rounds by default as many as each part needs
 * @param parts which of them
 */
export async function start({
  rows = Object.entries(ROWS)
    .map(([name, row]) => ({ name, ...row }))
    .filter(({ name, own }) => !own || OURS.includes(name)),
  people = 100_000,
  rounds,
  parts = Object.keys(PARTS),
} = {}) {
  const provider = await startChild(new URL('../lib/provider.mjs', import.meta.url), {}, { core: CORES.others })
  try {
    const results = {}
    for (const part of parts) {
      results[part] = await PARTS[part].measure({ provider, rows, rounds, people: Math.min(people, 100_000) })
    }
    return results
  } finally {
    await provider.stop()
  }
}

export function startTable(results) {
  return Object.entries(results)
    .map(([part, rows]) => `### ${PARTS[part].title}\n\n${PARTS[part].table(rows)}`)
    .join('\n\n')
}

/** To import it costs hardly more than to import the library that speaks the protocol. */
export function targets({ imports: results }) {
  return results
    ? [atMost('import of fastify-oauth2client, over that of openid-client', importRatio(results), 1.3)]
    : []
}
