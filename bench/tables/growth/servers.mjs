/** The app of which something grows: it asks its store with every request, and a header says who somebody is. */
import { CORES, start } from '../../lib/child.mjs'
import { load } from '../../lib/load.mjs'

/** Refreshes take long, and those that are under way when a run ends are work that nobody counts: fewer at once. */
const REQUESTS = {
  guarded: { path: '/guarded', connections: 32 },
  refreshed: { path: '/refresh', connections: 8 },
}

export const STORES = { postgres: 'PostgreSQL', sqlite: 'SQLite', redis: 'Redis' }

const script = new URL('../../contenders/ours.mjs', import.meta.url)

/** @param onto a list of what has to be stopped */
export async function startOurs(onto, options) {
  const server = await start(script, { sessions: 'secure', cached: false, ...options }, { core: CORES.server })
  onto.push(server)
  return server
}

/** A row for each kind of request, of random users. */
export const rowsOf = ({ store, at, servers, users }) =>
  Object.entries(REQUESTS).map(([title, { path, connections }]) => ({
    line: `${STORES[store]}, ${title}`,
    at,
    run: (seconds) => load(servers, path, { seconds, users, connections }),
  }))
