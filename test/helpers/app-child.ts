/** An app of its own process, started by `app-process.ts`, which sends it commands. */
import type { CredentialStore } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import type { AppTask, Commands, DeathPoint } from './app-process.js'
import { openStore } from './shared-store.js'
import { startUserApp } from './user-app.js'

const task = JSON.parse(process.argv[3] as string) as AppTask
const opened = await openStore(task.store)
/** What the world looks like to this process; commands change it. */
const world = {
  ahead: 0,
  leases: 'kept',
  dieAt: undefined as DeathPoint | undefined,
  puts: 0,
  /** For these users the store's clock moved on, by so many milliseconds. */
  aged: new Map<string, number>(),
}

/** Keys of the store hold the user's. */
function ageOf(key: string): number {
  for (const [user, ms] of world.aged) if (key.includes(user)) return ms
  return 0
}

function dieAt(...points: DeathPoint[]): void {
  if (world.dieAt !== undefined && points.includes(world.dieAt)) process.kill(process.pid, 'SIGKILL')
}

/** Nothing is held by it. */
const overAlready = { renew: async () => false, release: async () => {} }

/** The real store, with deaths, and a clock that can be moved on. */
function watchedStore(inner: CredentialStore): CredentialStore & Required<Pick<CredentialStore, 'lock'>> {
  return {
    async lock(key, ttl) {
      dieAt('before the lock')
      if (world.leases === 'failing') throw new Error('no leases today')
      if (world.leases === 'over at once') return overAlready
      // Leases of the dead end when the store's clock moves on.
      return (await inner.lock?.(key, ttl)) ?? (ageOf(key) > 0 ? overAlready : undefined)
    },
    async get(key) {
      const stored = await inner.get(key)
      return stored && { ...stored, age: (stored.age ?? 0) + ageOf(key) }
    },
    async put(key, value, expected) {
      world.puts += 1
      // A refresh writes its claim first, and then what it got.
      if (world.puts === 1) dieAt('before the lock', 'holding the lock')
      else dieAt('before the write')
      const written = await inner.put(key, value, expected)
      if (world.puts === 1) dieAt('claim written')
      else dieAt('after the write')
      return written
    },
    delete: (key, expected) => inner.delete(key, expected),
  }
}

async function watchedFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  dieAt('before the request')
  const response = await fetch(input, init)
  if (world.dieAt !== 'answer received') return response
  await response.arrayBuffer()
  dieAt('answer received')
  return response
}

const store = watchedStore(opened.store)
const { lock } = store

const { app, adopt, request } = await startUserApp(task.provider, store, {
  timeout: task.timeout ?? 10_000,
  fetch: watchedFetch,
  clock: () => Date.now() + world.ahead,
})

const commands: Commands = {
  prepare: () => opened.prepare(),
  remove: () => opened.remove(),
  adopt,
  async change({ locks, ...changes }) {
    Object.assign(world, changes, { puts: 0 })
    // Without the member, as stores that have none.
    if (locks === true) store.lock = lock
    if (locks === false) delete (store as CredentialStore).lock
  },
  async storm({ user, requests, at }) {
    // Everybody starts at the same moment, whenever the message came.
    while (Date.now() < at) await new Promise((resolve) => setImmediate(resolve))
    const answers = await Promise.all(Array.from({ length: requests }, () => request(user)))
    const counts: Record<string, number> = {}
    for (const { status, body } of answers) {
      const said = `${status} ${body}`
      counts[said] = (counts[said] ?? 0) + 1
    }
    return counts
  },
  request: ({ user, headers }) => request(user, headers),
  async moveOn({ user, ms }) {
    world.aged.set(user, ms)
  },
  async renew({ user }) {
    const stored = await app.oauth2.user(user)
    const { token: rejected } = await stored.getAccessToken()
    return (await stored.getAccessToken({ rejected })).token
  },
  async stored({ user }) {
    const [account] = (await app.oauth2.user(user)).accounts()
    const record = (await app.oauth2[kClient].manager.vaultOf(user).read())?.record.accounts[0]
    return { status: account?.status, reason: record?.dead }
  },
  async close() {
    await app.close()
    await opened.close()
  },
}

process.on('message', async ({ id, name, options }: { id: number; name: keyof Commands; options: never }) => {
  try {
    process.send?.({ id, result: await commands[name](options) })
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
  if (name === 'close') process.disconnect()
})
// Whoever started this is gone.
process.on('disconnect', () => process.exit())
process.send?.({ id: 0 })
