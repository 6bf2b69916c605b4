/** Processes of the app over one store, all of them on one core: what another one costs, not what it brings. */
import { fill } from '../../lib/fill.mjs'
import { measureCurve } from './curve.mjs'
import { rowsOf, startOurs } from './servers.mjs'

const COUNTS = [1, 2, 4, 8]

/** @param people how many are stored, at most */
export async function growProcesses(provider, servers, { stores, people, ...turns }) {
  const stored = Math.min(people, 10_000)
  const shared = stores.filter((store) => store !== 'sqlite').map((store) => ({ store, users: stored }))
  if (shared.length === 0) return []
  const { places, remove } = await fill(provider.url, shared)
  try {
    const rows = []
    for (const { store, name } of places) {
      const all = []
      while (all.length < COUNTS.at(-1)) {
        all.push(await startOurs(servers, { provider: provider.url, store, name, byHeader: true }))
      }
      for (const at of COUNTS) rows.push(...rowsOf({ store, at, servers: all.slice(0, at), users: stored }))
    }
    return await measureCurve('growth of processes', rows, turns)
  } finally {
    await remove()
  }
}
