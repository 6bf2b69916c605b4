import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CredentialLock, CredentialStore } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const HOUR = 3_600_000

let clock: FakeClock
beforeEach(() => {
  clock = fakeClock()
  const start = clock.now()
  const real = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => real() + clock.now() - start)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

type Operation = 'get' | 'put' | 'lost put' | 'delete' | 'lock' | 'refused lock' | 'renew' | 'release'

interface WatchedStore extends CredentialStore {
  /** What was asked of it, in order. */
  readonly operations: Operation[]
}

/** A store that writes down what is asked of it. Its leases last until they are released, unless `lock` says otherwise. */
function watchedStore(lock?: CredentialStore['lock'] | 'none'): WatchedStore {
  const { get, put, delete: remove } = memoryStore({ clock: clock.now })
  const operations: Operation[] = []
  const held = new Set<string>()
  const keep = async (key: string): Promise<CredentialLock | undefined> => {
    operations.push(held.has(key) ? 'refused lock' : 'lock')
    if (held.has(key)) return undefined
    held.add(key)
    return {
      async renew() {
        operations.push('renew')
        return true
      },
      async release() {
        operations.push('release')
        held.delete(key)
      },
    }
  }
  return {
    operations,
    shared: false,
    async get(key) {
      operations.push('get')
      return get(key)
    },
    async put(key, value, expected) {
      const generation = await put(key, value, expected)
      operations.push(generation === false ? 'lost put' : 'put')
      return generation
    },
    async delete(key, expected) {
      operations.push('delete')
      return remove(key, expected)
    },
    ...(lock === 'none' ? {} : { lock: lock ?? keep }),
  }
}

/** Two processes, as good as: alice is signed in at the first, and her token is over. */
async function twoApps(storage: WatchedStore): Promise<[TestApp, TestApp]> {
  const variant = sessionVariants[2]!
  const first = await startApp({ storage, variant, clock })
  const second = await startApp({ storage, variant, clock, provider: first.provider })
  expect((await first.browser.goto(`${first.url}/profile`)).status).toBe(200)
  clock.advance(HOUR)
  storage.operations.length = 0
  return [first, second]
}

const refreshes = ({ provider }: TestApp) => provider.count('token', 'refresh_token')
const looks = (storage: WatchedStore) => storage.operations.filter((operation) => operation === 'get').length

test('a refresh costs one round trip more, and nobody waits for the end of the lease', async () => {
  let released: () => void = () => {}
  const storage = watchedStore(async () => {
    storage.operations.push('lock')
    return { renew: async () => true, release: () => new Promise<void>((resolve) => (released = resolve)) }
  })
  const [first] = await twoApps(storage)
  expect((await first.browser.xhr(`${first.url}/profile`)).status).toBe(200)
  expect(storage.operations).toEqual(['get', 'get', 'lock', 'put', 'put'])
  // The app does: the store may be closed next.
  let closed = false
  const closing = first.app.close().then(() => {
    closed = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(closed).toBe(false)
  released()
  await closing
})

test('whoever has no lease does not try', async () => {
  const storage = watchedStore()
  const [first, second] = await twoApps(storage)
  const hold = first.provider.hold('token')
  const pages = [first, second, first, second].map(({ url }) => first.browser.xhr(`${url}/profile`))
  await hold.arrived()
  hold.release()
  expect((await Promise.all(pages)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(refreshes(first)).toBe(1)
  await vi.waitFor(() => expect(storage.operations).toContain('release'))
  expect(storage.operations.filter((operation) => /put|^lock|release/.test(operation))).toEqual([
    'lock',
    'put',
    'put',
    'release',
  ])
})

test.each([
  ['kept', undefined, 1],
  ['not to be had', 'none', 2],
] as const)(
  'an owner that is slow but alive is not overtaken while its lease is kept: %s',
  async (_n, lock, expected) => {
    const storage = watchedStore(lock)
    const [first, second] = await twoApps(storage)
    const hold = first.provider.hold('token')
    const slow = first.browser.xhr(`${first.url}/profile`)
    await hold.arrived()
    clock.advance(30_000)
    const other = first.browser.xhr(`${second.url}/profile`)
    const before = looks(storage)
    await vi.waitFor(() => expect(looks(storage)).toBeGreaterThan(before + 2))
    clock.advance(2_000)
    const then = storage.operations.length
    await vi.waitFor(() => expect(storage.operations.slice(then)).toContain(lock ? 'put' : 'refused lock'))
    hold.release()
    expect((await slow).status).toBe(200)
    expect((await other).status).toBe(200)
    expect(refreshes(first)).toBe(expected)
  },
)

test('a lease is renewed for as long as the provider takes, and no longer', async () => {
  const storage = watchedStore()
  const [first] = await twoApps(storage)
  const hold = first.provider.hold('token')
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const page = first.browser.xhr(`${first.url}/profile`)
  await hold.arrived()
  vi.advanceTimersByTime(20_000)
  expect(storage.operations.filter((operation) => operation === 'renew').length).toBeGreaterThan(8)
  hold.release()
  await page
  const renewals = storage.operations.filter((operation) => operation === 'renew').length
  vi.advanceTimersByTime(20_000)
  expect(storage.operations.filter((operation) => operation === 'renew')).toHaveLength(renewals)
})

const broken = async (): Promise<never> => {
  throw new Error('no leases today')
}

test.each<[string, CredentialStore['lock']]>([
  ['cannot be had', broken],
  ['cannot be renewed or released', async () => ({ renew: broken, release: broken })],
  ['are lost at once', async () => ({ renew: async () => false, release: async () => {} })],
])('leases that %s change nothing', async (_name, lock) => {
  const storage = watchedStore(lock)
  const [first, second] = await twoApps(storage)
  const pages = [first, second, first, second].map(({ url }) => first.browser.xhr(`${url}/profile`))
  expect((await Promise.all(pages)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(refreshes(first)).toBe(1)
})

test('a lease that is never given back costs a wait, and not the refresh', async () => {
  const storage = watchedStore(async () => {
    storage.operations.push('refused lock')
    return undefined
  })
  const [first] = await twoApps(storage)
  const page = first.browser.xhr(`${first.url}/profile`)
  await vi.waitFor(() => expect(storage.operations.filter((o) => o === 'refused lock').length).toBeGreaterThan(2))
  expect(refreshes(first)).toBe(0)
  clock.advance(12_000)
  expect((await page).status).toBe(200)
  expect(refreshes(first)).toBe(1)
})

test('a lease is on one account, and never on the key of a record', async () => {
  const keys = new Set<string>()
  const storage = watchedStore(async (key) => {
    keys.add(key)
    return { renew: async () => true, release: async () => {} }
  })
  const [first] = await twoApps(storage)
  await first.browser.xhr(`${first.url}/profile`)
  const [key] = [...keys]
  expect(key).toMatch(/^user\/oauth2\/sub-alice#[\w-]+$/)
  expect(key).not.toContain('sub-alice#sub-alice')
  expect(await storage.get(key!)).toBeUndefined()
})
