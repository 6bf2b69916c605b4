/** Two processes over one store, each with a memory of its own of what it read: what that may hide, and for how long. */
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { withhold } from '../../src/credentials/record.js'
import { CredentialManager, type CredentialStore, Credentials } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import type { Browser, Page } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { Gate } from '../helpers/hold.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const KEY = 'the key of every process of this test'

/** Of the wall, and of the machine: usually they agree. */
let clock: FakeClock
let machine: FakeClock
beforeEach(() => {
  clock = fakeClock()
  machine = fakeClock(0)
  vi.spyOn(performance, 'now').mockImplementation(machine.now)
})
afterEach(() => vi.restoreAllMocks())
function pass(ms: number): void {
  clock.advance(ms)
  machine.advance(ms)
}

interface Watched extends CredentialStore {
  readonly calls: string[]
  /** Holds the next answer of `get`, which is that of the moment when it was asked. */
  held: Gate | undefined
}

/** One process's way to the store that all of them share. */
function wayTo(inner: CredentialStore, shared = true): Watched {
  const watched: Watched = {
    shared,
    calls: [],
    held: undefined,
    async get(key) {
      watched.calls.push('get')
      const gate = watched.held
      watched.held = undefined
      const stored = await inner.get(key)
      await gate?.pass()
      return stored
    },
    put(key, value, expected) {
      watched.calls.push('put')
      return inner.put(key, value, expected)
    },
    delete(key, expected) {
      watched.calls.push('delete')
      return inner.delete(key, expected)
    },
  }
  return watched
}

interface Process extends TestApp {
  readonly store: Watched
  /** A guarded request of Alice's; the answer, and what was asked of the store for it. */
  get(path?: string, browser?: Browser): Promise<[status: number, calls: string[]]>
}

interface World {
  readonly provider: ScriptedProvider
  /** Alice signed in through `here`; the other one knows her by her session, which both share. */
  readonly here: Process
  readonly there: Process
  readonly browser: Browser
}

async function world(options: TestAppOptions = {}, variant = options.variant ?? sessionVariants[1]): Promise<World> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const inner = memoryStore({ clock: clock.now })
  const sessions = new SlowSessionStore(0)
  const start = async (): Promise<Process> => {
    const store = wayTo(inner)
    const app = await startApp({
      ...options,
      variant: {
        ...(variant as NonNullable<typeof variant>),
        register: (server) => variant?.register(server, { store: sessions }),
      },
      provider,
      clock,
      storage: store,
      client: { encryptionKeys: KEY, ...(typeof options.client === 'object' ? options.client : {}) },
      routes(server) {
        server.post('/bye', { config: { oauth2: 'aware' } }, async ({ oauth2 }) => {
          await oauth2.signOut()
          return {}
        })
        server.post('/revoke', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.revoke())
      },
    })
    const get: Process['get'] = async (path = '/profile', browser = here.browser) => {
      store.calls.length = 0
      const { status } = await browser.xhr(app.url + path)
      return [status, [...store.calls]]
    }
    return { ...app, store, get }
  }
  const here: Process = await start()
  const there = await start()
  const { browser } = here
  await browser.goto(`${here.url}/profile`)
  // Both have it in mind, and no note of a flow is left to be taken away.
  for (const { url } of [here, there, here]) expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  return { provider, here, there, browser }
}

const alice = ({ app }: TestApp) => app.oauth2.user('sub-alice')

describeEachSession((variant) => {
  test('a revocation by another process is seen after two seconds at the latest', async () => {
    const { here, there } = await world({ variant })
    expect(await (await alice(there)).revoke()).toMatchObject({ local: true })
    pass(1_999)
    expect(await here.get()).toEqual([200, []])
    pass(1)
    expect(await here.get()).toEqual([401, ['get']])
    expect(await here.get()).toEqual([401, ['get']])
  })

  test('what this process did itself is seen at once: a revocation, and what is signed in again', async () => {
    const { here, browser } = await world({ variant })
    expect((await browser.xhr(`${here.url}/revoke`, { method: 'POST' })).json()).toMatchObject({ local: true })
    expect((await here.get())[0]).toBe(401)
    expect((await browser.goto(`${here.url}/files`)).status).toBe(200)
    expect((await browser.xhr(`${here.url}/bye`, { method: 'POST' })).status).toBe(200)
    expect((await here.get())[0]).toBe(401)
  })

  test('scopes that were granted through another process a moment ago let a request pass at once, for one read', async () => {
    const { here, there, browser } = await world({ variant })
    expect((await browser.goto(`${there.url}/files`)).status).toBe(200)
    expect(await here.get('/profile')).toEqual([200, []])
    expect(await here.get('/files')).toEqual([200, ['get']])
    expect(await here.get('/files')).toEqual([200, []])
  })
})

test('a clock that is set back, or stands still, prolongs nothing', async () => {
  for (const [wall, real] of [
    [-HOUR, 10],
    [-1_000, 2_000],
    [0, 2_000],
    [2_000, 0],
    [HOUR, 1],
  ] as const) {
    const { here, there } = await world()
    await (await alice(there)).revoke()
    clock.advance(wall)
    machine.advance(real)
    expect([wall, real, await here.get()]).toEqual([wall, real, [401, ['get']]])
  }
})

test('being used does not keep in mind what is too old: only reading again does', async () => {
  const { here, there } = await world()
  await (await alice(there)).revoke()
  for (const ms of [700, 700, 599]) {
    pass(ms)
    expect(await here.get()).toEqual([200, []])
  }
  pass(1)
  expect(await here.get()).toEqual([401, ['get']])
})

test.each<[string, (process: Process, browser: Browser) => Promise<unknown>, number]>([
  ['a revocation', async (process) => (await alice(process)).revoke(), 401],
  ['a deletion', async ({ app }) => app.oauth2.deleteUser('sub-alice'), 401],
  [
    'a refresh',
    async (process) => {
      const user = await alice(process)
      await user.getAccessToken({ rejected: (await user.getAccessToken()).token })
    },
    200,
  ],
  ['more scopes', (process, browser) => browser.goto(`${process.url}/files`), 200],
])('%s of this process is not undone by a read that began before it', async (_name, change, status) => {
  const { here, browser } = await world()
  const before = (await alice(here)).credentials?.accessToken
  const gate = new Gate()
  here.store.held = gate
  const slow = here.app.oauth2.user('sub-alice')
  await gate.arrived()
  await change(here, browser)
  const after = (await alice(here)).credentials?.accessToken
  expect(after).not.toBe(before)
  gate.release()
  // It is as old as it is, and nobody else gets to see it.
  expect((await slow).credentials?.accessToken).toBe(before)
  const remembered = await here.app.oauth2[kClient].manager.keeper.load(
    here.app.oauth2[kClient].manager.vaultOf('sub-alice'),
    { recall: true },
  )
  expect(remembered?.record.accounts[0]?.tokens.accessToken).toBe(after)
  expect((await here.get())[0]).toBe(status)
})

describe('nobody is refused for what was true a moment ago', () => {
  test('an account that died through another process, and was authorized again there', async () => {
    const { provider, here, there, browser } = await world()
    provider.withdraw()
    const user = await alice(here)
    const { token: rejected } = await user.getAccessToken()
    await expect(user.getAccessToken({ rejected })).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
    expect(await here.get()).toEqual([401, ['get']])
    expect((await browser.goto(`${there.url}/oauth2authorize?return_url=/profile`)).status).toBe(200)
    expect(await here.get()).toEqual([200, ['get']])
    expect(await here.get()).toEqual([200, []])
  })

  test('an account that died through another process passes no longer than two seconds', async () => {
    const { provider, here, there } = await world()
    provider.withdraw()
    const user = await alice(there)
    const { token: rejected } = await user.getAccessToken()
    await user.getAccessToken({ rejected }).catch(() => {})
    expect((await there.get())[0]).toBe(401)
    pass(1_999)
    expect(await here.get()).toEqual([200, []])
    pass(1)
    expect(await here.get()).toEqual([401, ['get']])
  })

  test('an access token that expired is refreshed by what is stored, not by what is remembered', async () => {
    const { provider, here, there } = await world({ client: { cacheMaxAge: 2 * 3_600 } })
    pass(HOUR + 1)
    expect((await there.get())[0]).toBe(200)
    expect(await here.get()).toEqual([200, ['get']])
    expect(provider.count('token', 'refresh_token')).toBe(1)
  })

  test('a user who is deleted there, and is to be asked for more here', async () => {
    const { here, there } = await world()
    await there.app.oauth2.deleteUser('sub-alice')
    // One scope short, it is read again: and there is nobody any more.
    expect(await here.get('/files')).toEqual([401, ['get']])
    expect(await here.get()).toEqual([401, ['get']])
  })

  test('somebody of whom nothing was stored is not remembered as nobody', async () => {
    const { here, there } = await world({ client: { userKey: () => 'u' } })
    expect((await (await here.app.oauth2.user('other')).load()).credentials).toBeNull()
    await (await there.app.oauth2.user('other')).adopt(
      Credentials.fromAccessToken('a', { scopes: ['openid', 'email'] }),
    )
    expect((await here.app.oauth2.user('other')).credentials?.accessToken).toBe('a')
  })
})

test('cacheMaxAge: 0 always reads', async () => {
  const { here, there } = await world({ client: { cacheMaxAge: 0 } })
  for (let i = 0; i < 3; i += 1) expect(await here.get()).toEqual([200, ['get']])
  await (await alice(there)).revoke()
  expect(await here.get()).toEqual([401, ['get']])
})

test('cacheMaxAge is seconds, and may be a part of one', async () => {
  const { here, there } = await world({ client: { cacheMaxAge: 0.25 } })
  await (await alice(there)).revoke()
  pass(249)
  expect(await here.get()).toEqual([200, []])
  pass(1)
  expect(await here.get()).toEqual([401, ['get']])
})

test('jobs and pages that show what is stored read, whatever is remembered', async () => {
  const { here, there } = await world()
  await (await alice(there)).revoke()
  expect((await alice(here)).credentials).toBeNull()
  await expect((await alice(here)).getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
})

test('a store that nobody else writes to is always read: there is nothing to gain', async () => {
  const store = wayTo(memoryStore(), false)
  const { browser, url } = await startApp({ storage: store, clock, client: { cacheMaxAge: 60 } })
  await browser.goto(`${url}/profile`)
  for (let i = 0; i < 2; i += 1) {
    store.calls.length = 0
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(store.calls).toEqual(['get'])
  }
})

test('the last 5,000 users are remembered and no more than 10,000, and nothing of their refresh tokens', async () => {
  const options = {
    provider: { issuer: 'https://issuer.example' },
    clientId: 'client',
    encryptionKeys: KEY,
    clock: clock.now,
  }
  const store = wayTo(memoryStore())
  const { keeper, ...manager } = new CredentialManager({ ...options, storage: store })
  const { provider } = keeper
  const record = withhold({
    v: 1,
    issuer: provider.issuer,
    clientId: provider.clientId,
    accounts: [
      {
        id: 'a',
        identified: true,
        tokens: { accessToken: 'at', tokenType: 'Bearer', obtainedAt: 0, refreshToken: 'rt-canary', scopes: [] },
        requested: [],
        declined: [],
      },
    ],
  })
  void manager
  const reads: string[] = []
  const vaultOf = (id: string) => ({
    id,
    journaled: true,
    async read() {
      reads.push(id)
      return { record, generation: 1 }
    },
    write: async () => false as const,
    delete: async () => false,
  })
  for (let i = 0; i < 10_001; i += 1) await keeper.load(vaultOf(`user-${i}`))
  reads.length = 0
  const last = await keeper.load(vaultOf('user-10000'), { recall: true })
  const before = await keeper.load(vaultOf('user-5001'), { recall: true })
  expect(reads).toEqual([])
  expect(JSON.stringify([last, before])).not.toContain('rt-canary')
  await keeper.load(vaultOf('user-0'), { recall: true })
  expect(reads).toEqual(['user-0'])
})

test('what is remembered holds no refresh token, after a sign-in and after a refresh', async () => {
  const { provider, here } = await world()
  const { keeper } = here.app.oauth2[kClient].manager
  const recall = () => keeper.load(here.app.oauth2[kClient].manager.vaultOf('sub-alice'), { recall: true })
  const clean = async () => {
    const snapshot = await recall()
    expect(snapshot).toMatchObject({ remembered: true, record: { accounts: [{ tokens: { refreshToken: '' } }] } })
    expect(JSON.stringify(snapshot)).not.toContain('rt-canary')
  }
  await clean()
  provider.refreshTokenPolicy = 'rotate'
  const user = await alice(here)
  await user.getAccessToken({ rejected: (await user.getAccessToken()).token })
  expect(provider.count('token', 'refresh_token')).toBe(1)
  await clean()
  await user.adopt(new Credentials({ accessToken: 'x', refreshToken: 'rt-canary-adopted', userId: 'sub-alice' }))
  await clean()
})

test('while the store is away, what was remembered serves for as long as its access token works', async () => {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const store = breakableStore({ ...memoryStore({ clock: clock.now }), shared: true })
  const { browser, url } = await startApp({ provider, storage: store, clock, client: { encryptionKeys: KEY } })
  await browser.goto(`${url}/profile`)
  store.failing = true
  pass(HOUR / 2)
  const answer = (path: string): Promise<Page> => browser.xhr(url + path)
  expect((await answer('/profile')).status).toBe(200)
  // Whether more was granted meanwhile, nobody can say now.
  expect((await answer('/files')).json()).toMatchObject({ statusCode: 503, code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
  pass(HOUR)
  expect((await answer('/profile')).json()).toMatchObject({ statusCode: 503, code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
})

test.each<[unknown]>([[-1], [Number.NaN], [Number.POSITIVE_INFINITY], ['2'], [null], [true]])(
  'cacheMaxAge: %s is a mistake that is named',
  (cacheMaxAge) => {
    const options = { provider: { issuer: 'https://issuer.example' }, clientId: 'c', encryptionKeys: KEY }
    expect(
      () => new CredentialManager({ ...options, storage: wayTo(memoryStore()), cacheMaxAge: cacheMaxAge as number }),
    ).toThrow(
      expect.objectContaining({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: expect.stringContaining('cacheMaxAge'),
      }),
    )
  },
)

describe('a read that is under way', () => {
  async function reading(options: { readonly certain?: boolean }) {
    const { here } = await world()
    const { manager } = here.app.oauth2[kClient]
    const { keeper } = manager
    const vault = manager.vaultOf('sub-alice')
    pass(2_000)
    here.store.calls.length = 0
    const gate = new Gate()
    here.store.held = gate
    const first = keeper.load(vault, options)
    await gate.arrived()
    return { first, gate, calls: here.store.calls, load: () => keeper.load(vault, { recall: true }) }
  }

  test('is waited for by whoever comes within half a second, and one that never ends by nobody else', async () => {
    const { first, gate, calls, load } = await reading({})
    const joined = [load()]
    pass(499)
    joined.push(load())
    expect(calls).toEqual(['get'])
    pass(1)
    // This one has an answer while the others wait.
    expect(await load()).not.toHaveProperty('remembered')
    expect(calls).toEqual(['get', 'get'])
    gate.release()
    // Nobody is refused for it: it began before they came.
    for (const one of await Promise.all(joined)) expect(one).toMatchObject({ remembered: true })
    expect(await first).not.toHaveProperty('remembered')
    expect(calls).toEqual(['get', 'get'])
  })

  test('for somebody who is about to be refused is waited for by nobody: it fails where memory would do', async () => {
    const { gate, calls, load } = await reading({ certain: true })
    expect(await load()).toMatchObject({ record: { accounts: [{ id: 'sub-alice' }] } })
    expect(calls).toEqual(['get', 'get'])
    gate.release()
  })

  test('is as old as its beginning: what came late is not remembered for longer', async () => {
    const { first, gate, calls, load } = await reading({})
    pass(1_500)
    gate.release()
    await first
    pass(499)
    await load()
    expect(calls).toEqual(['get'])
    pass(1)
    await load()
    expect(calls).toEqual(['get', 'get'])
  })
})
