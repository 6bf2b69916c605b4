/** Stored users: each size in a place of its own, requests of random users among all of it. */
import { fill } from '../../lib/fill.mjs'
import { measureCurve } from './curve.mjs'
import { rowsOf, startOurs } from './servers.mjs'

/** @param people how many at most */
export async function growUsers(provider, servers, { stores, people, ...turns }) {
  const sizes = [1_000, 10_000, 100_000, 1_000_000].filter((size) => size < people)
  const wanted = stores.flatMap((store) => [...sizes, people].map((size) => ({ store, users: size })))
  const { places, remove } = await fill(provider.url, wanted)
  try {
    const rows = []
    for (const { store, users: size, name } of places) {
      const server = await startOurs(servers, { provider: provider.url, store, name, byHeader: true })
      rows.push(...rowsOf({ store, at: size, servers: [server], users: size }))
    }
    return await measureCurve('growth of users', rows, turns)
  } finally {
    await remove()
  }
}
