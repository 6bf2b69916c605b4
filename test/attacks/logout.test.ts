/** Signing out from elsewhere: by the provider, from another browser, and by somebody who has no business to. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { JWTPayload } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, {
  type CredentialStore,
  type OAuth2ClientOptions,
  oauthAware,
  requireOAuth,
} from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'
import { answer, back, begin, ourCookies } from '../routes/flow.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const KEY = 'a key of all the processes of this app'
const usual = sessionVariants[0] as SessionVariant

/** Counts what is read, and can be told to break. */
class WatchedStore {
  reads: string[] = []
  broken = false
  readonly store: CredentialStore

  constructor(inner: CredentialStore = memoryStore()) {
    this.store = {
      get: async (key) => {
        if (this.broken) throw new Error('down')
        this.reads.push(key)
        return inner.get(key)
      },
      put: async (...args) => inner.put(...args),
      delete: async (...args) => inner.delete(...args),
    }
  }
}

interface WorldOptions {
  readonly variant?: SessionVariant
  readonly storage?: 'session' | CredentialStore
  readonly processes?: number
  readonly client?: Partial<OAuth2ClientOptions>
  readonly routes?: (app: FastifyInstance) => void
}

/** One app in one or more processes, at a provider that names its sessions. */
async function world({ variant = usual, storage, processes = 1, client, routes }: WorldOptions = {}) {
  const clock = fakeClock()
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const at = { sid: 'session-1' as string | undefined }
  provider.idTokenClaims = (claims) => ({ ...claims, ...(at.sid === undefined ? {} : { sid: at.sid }) })
  const sessions = new SlowSessionStore()
  const shared: SessionVariant = { ...variant, register: (app) => variant.register(app, { store: sessions }) }
  const watched = new WatchedStore()
  const apps: TestApp[] = []
  for (let n = 0; n < processes; n++) {
    const app = await startApp({
      variant: shared,
      storage: storage ?? watched.store,
      provider,
      clock,
      client: { backchannelLogout: true, encryptionKeys: KEY, ...client },
      routes(server) {
        server.post('/everywhere', async ({ oauth2 }) => {
          await oauth2.load()
          await oauth2.signOut({ everywhere: true })
          return {}
        })
        server.get('/token', async ({ oauth2 }) => ({ token: (await oauth2.load()).xsrfToken }))
        routes?.(server)
      },
    })
    apps.push(app)
  }
  const [app] = apps as [TestApp]
  const signIn = async (sid: string | undefined, browser = new Browser()) => {
    at.sid = sid
    expect((await browser.goto(`${app.url}/profile`)).status).toBe(200)
    return browser
  }
  const claims = (more: JWTPayload): JWTPayload => {
    const now = Math.floor(clock.now() / 1000)
    const { issuer: iss, clientId: aud } = provider
    return { iss, aud, iat: now, exp: now + 120, jti: randomUUID(), events: { [EVENT]: {} }, ...more }
  }
  const send = (token: string, to = app) =>
    fetch(`${to.url}/oauth2logout/backchannel`, {
      method: 'POST',
      body: new URLSearchParams({ logout_token: token }),
    })
  const logout = async (more: JWTPayload, to = app) => {
    const response = await send(await provider.sign(claims(more), { typ: 'logout+jwt' }), to)
    // Other processes may use what they read last for two seconds.
    clock.advance(2_100)
    return response.status
  }
  const status = async (browser: Browser, to = app) => (await browser.xhr(`${to.url}/profile`)).status
  return { app, apps, provider, clock, at, watched, signIn, claims, send, logout, status }
}

describeEachSession((variant) => {
  test('A17 N8: a session that ended at the provider is over in every process; others and the grant stay', async () => {
    const { app, apps, provider, signIn, logout, status } = await world({ variant, processes: 2 })
    const [, second] = apps as [TestApp, TestApp]
    const browser = await signIn('session-1')
    const elsewhere = await signIn('session-2')
    const thief = browser.clone()
    expect([await status(browser), await status(browser, second)]).toEqual([200, 200])
    expect(await logout({ sid: 'session-1', sub: 'sub-alice' }, second)).toBe(200)
    expect([await status(browser.clone()), await status(browser.clone(), second)]).toEqual([401, 401])
    expect([await status(elsewhere), await status(elsewhere, second)]).toEqual([200, 200])
    // Jobs go on.
    expect((await (await app.app.oauth2.user('sub-alice')).getAccessToken()).token).toBeTruthy()
    expect(provider.count('revoke')).toBe(0)
    // The person comes back; whoever copied the cookies from before does not.
    await signIn('session-3', browser)
    expect([await status(browser), await status(browser, second)]).toEqual([200, 200])
    expect(await status(thief)).toBe(401)
  })

  test('A17: without the name of a session, all of a person’s end', async () => {
    const { app, signIn, logout, status } = await world({ variant })
    const browsers = [await signIn('session-1'), await signIn(undefined)]
    expect(await logout({ sub: 'sub-bob' })).toBe(200)
    for (const browser of browsers) expect(await status(browser)).toBe(200)
    expect(await logout({ sub: 'sub-alice' })).toBe(200)
    for (const browser of browsers) expect(await status(browser)).toBe(401)
    expect((await app.app.oauth2.user('sub-alice')).hasCredentials()).toBe(true)
    await signIn('session-1', browsers[0])
  })

  test('A17: with sessions alone, this process knows what ended', async () => {
    const { app, signIn, logout, status } = await world({ variant, storage: 'session' })
    const [browser, elsewhere] = [await signIn('session-1'), await signIn('session-2')]
    const thief = browser.clone()
    expect(await logout({ sid: 'session-1' })).toBe(200)
    expect([await status(browser), await status(elsewhere)]).toEqual([401, 200])
    await signIn('session-3', browser)
    expect(await status(thief)).toBe(401)
    expect(await logout({ sub: 'sub-alice' })).toBe(200)
    expect([await status(browser), await status(elsewhere)]).toEqual([401, 401])
    expect(app.logs.text()).toContain('is known to this process only')
  })

  for (const storage of [undefined, 'session'] as const) {
    for (const ended of [{ sid: 'session-1' }, { sub: 'sub-alice' }] as const) {
      test(`N8: a sign-in that is under way ends with ${Object.keys(ended)} (${storage ?? 'store'})`, async () => {
        const { app, at, clock, logout, signIn } = await world({ variant, ...(storage && { storage }) })
        const { callback } = await begin(app)
        at.sid = 'session-1'
        expect(await logout(ended)).toBe(200)
        clock.advance(590_000)
        expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
        expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(401)
        if (!storage) expect((await app.app.oauth2.user('sub-alice')).credentials).toBeNull()
        clock.advance(60_000)
        await signIn('session-2', app.browser)
      })
    }

    test(`A17: signing out everywhere ends every browser, and no grant (${storage ?? 'store'})`, async () => {
      const { app, provider, clock, signIn, status } = await world({ variant, ...(storage && { storage }) })
      const [browser, elsewhere] = [await signIn('session-1'), await signIn('session-2')]
      const thief = browser.clone()
      const { callback } = await begin(app)
      await elsewhere.xhr(`${app.url}/everywhere`, { method: 'POST' })
      expect([await status(browser), await status(elsewhere), await status(thief)]).toEqual([401, 401, 401])
      expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
      expect(provider.count('revoke')).toBe(0)
      clock.advance(1)
      await signIn('session-1', browser)
      expect([await status(browser), await status(thief)]).toEqual([200, 401])
      await app.app.oauth2.signOutEverywhere('sub-alice')
      expect(await status(browser)).toBe(401)
    })
  }
})

describeEachSession((variant) => {
  test('A17: whoever comes back after a logout keeps the new session when the ended one is shown again', async () => {
    const { app, at, signIn, logout, status } = await world({ variant })
    const browser = await signIn('session-1', app.browser)
    const { callback } = await begin(app)
    const old = browser.clone()
    expect(await logout({ sid: 'session-1', sub: 'sub-alice' })).toBe(200)
    at.sid = 'session-2'
    expect((await back(app, callback)).status).toBe(303)
    expect([await status(browser), await status(old), await status(browser)]).toEqual([200, 401, 200])
  })

  for (const [name, hook] of [
    ['oauthAware', oauthAware()],
    ['requireOAuth', requireOAuth()],
  ] as const) {
    test(`A17: with ${name} over the whole app, a logout meanwhile leaves a sign-in that is under way alone`, async () => {
      const { app, at, signIn, logout, status } = await world({
        variant,
        routes: (server) => void server.addHook('onRequest', hook),
      })
      await signIn('session-1', app.browser)
      const { callback } = await begin(app)
      expect(await logout({ sid: 'session-1', sub: 'sub-alice' })).toBe(200)
      at.sid = 'session-2'
      expect((await back(app, callback)).status).toBe(303)
      expect(await status(app.browser)).toBe(200)
    })

    test(`A17: with ${name} over the whole app, a callback that brings nobody leaves the ended link ended`, async () => {
      const { app, signIn, logout, status } = await world({
        variant,
        routes: (server) => void server.addHook('onRequest', hook),
      })
      await signIn('session-1', app.browser)
      const { callback } = await begin(app)
      expect(await logout({ sid: 'session-1', sub: 'sub-alice' })).toBe(200)
      expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
      expect(await status(app.browser)).toBe(401)
    })
  }

  test('A17: a page after a sign-in that was ended says so, and nothing of a circle', async () => {
    const { app, at, logout } = await world({ variant })
    const { callback } = await begin(app)
    at.sid = 'session-1'
    expect(await logout({ sid: 'session-1' })).toBe(200)
    expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
    expect(answer(await app.browser.goto(`${app.url}/profile`))).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
  })

  test('A17: a link that ended cannot end those that did not', async () => {
    const { app, clock, signIn, status } = await world({
      variant,
      routes: (server) =>
        void server.post('/all', async ({ oauth2 }) => {
          await oauth2.signOut({ everywhere: true })
          return {}
        }),
    })
    const thief = await signIn('session-1')
    await app.app.oauth2.signOutEverywhere('sub-alice')
    clock.advance(2_100)
    const browser = await signIn('session-2')
    await thief.xhr(`${app.url}/all`, { method: 'POST' })
    expect([await status(browser), await status(thief)]).toEqual([200, 401])
  })

  test('A17: deleting a user does not bring back a link that ended, once they come again', async () => {
    const { app, clock, signIn, status } = await world({ variant })
    const [browser, other] = [await signIn('session-1'), await signIn('session-2')]
    await app.app.oauth2.signOutEverywhere('sub-alice')
    clock.advance(2_100)
    expect(await app.app.oauth2.deleteUser('sub-alice')).toMatchObject({ accounts: [{ id: 'sub-alice' }] })
    expect(await app.app.oauth2.deleteUser('sub-alice')).toEqual({ accounts: [], pending: 0 })
    clock.advance(2_100)
    await signIn('session-3', browser)
    expect([await status(browser), await status(other)]).toEqual([200, 401])
  })
})

test('A17: revoking and granting anew does not bring back a link that ended', async () => {
  const { app, clock, signIn, status } = await world()
  const [browser, other] = [await signIn('session-1'), await signIn('session-2')]
  await app.app.oauth2.signOutEverywhere('sub-alice')
  const alice = await app.app.oauth2.user('sub-alice')
  expect(await alice.revoke()).toEqual({ local: true, remote: 'revoked' })
  expect(alice.accounts()).toEqual([])
  clock.advance(2_100)
  await signIn('session-3', browser)
  expect([await status(browser), await status(other)]).toEqual([200, 401])
})

test('A17: a logout that comes after the last account was revoked still counts', async () => {
  const { app, clock, signIn, logout, status } = await world({ client: { resolveUser: () => 'user-1' } })
  const [browser, other] = [await signIn('session-1'), await signIn('session-2')]
  await (await app.app.oauth2.user('user-1')).revoke()
  expect(await logout({ sub: 'sub-alice' })).toBe(200)
  clock.advance(1_000)
  await signIn('session-3', browser)
  expect([await status(browser), await status(other)]).toEqual([200, 401])
})

describe('an app with users of its own', () => {
  test('A17: who a session stands for is known by what was noted at the sign-in', async () => {
    const told: unknown[] = []
    const { signIn, logout, status, app } = await world({
      client: { resolveUser: () => 'user-1', onLogout: (event) => void told.push(event) },
    })
    const [browser, elsewhere] = [await signIn('session-1'), await signIn('session-2')]
    // The key of another user.
    expect(await logout({ sub: 'user-1' })).toBe(200)
    expect(await logout({ sid: 'nobody’s' })).toBe(200)
    expect(await status(browser)).toBe(200)
    expect(await logout({ sid: 'session-1' })).toBe(200)
    expect([await status(browser), await status(elsewhere)]).toEqual([401, 200])
    expect(await logout({ sub: 'sub-alice' })).toBe(200)
    expect(await status(elsewhere)).toBe(401)
    expect(told).toEqual([
      { users: [], sub: 'user-1', sid: undefined },
      { users: [], sub: undefined, sid: 'nobody’s' },
      { users: ['user-1'], sub: undefined, sid: 'session-1' },
      { users: ['user-1'], sub: 'sub-alice', sid: undefined },
    ])
    expect((await app.app.oauth2.user('user-1')).hasCredentials()).toBe(true)
  })

  test('A17: with userKey the app is told, and what it stores for its user stays usable', async () => {
    const told: unknown[] = []
    const { signIn, logout, status } = await world({
      client: { userKey: () => 'u1', onLogout: ({ users }) => void told.push(...users) },
    })
    const browser = await signIn('session-1')
    expect(await logout({ sid: 'session-1' })).toBe(200)
    expect(told).toEqual(['u1'])
    expect(await status(browser)).toBe(200)
  })

  /** Signed in to the app as its user, by a header. */
  const ofVictim = { headers: { 'x-user': 'victim' } }
  async function connected() {
    const told: unknown[] = []
    const one = await world({
      client: {
        userKey: ({ headers }: FastifyRequest) => headers['x-user'] as string | undefined,
        onLogout: ({ users }) => void told.push(users),
      },
      routes: (server) =>
        void server.get('/another', async ({ oauth2 }) => {
          await oauth2.load()
          return oauth2.authorizeUrl('/', { account: 'new' })
        }),
    })
    one.at.sid = undefined
    const { app, provider } = one
    expect((await app.browser.goto(`${app.url}/profile`, ofVictim)).status).toBe(200)
    const another = async (person: string, from?: string) => {
      provider.user = person
      const path = (await app.browser.xhr(`${app.url}/another`, ofVictim)).body
      return app.browser.goto(app.url + path, { ...ofVictim, ...(from === undefined ? {} : { from }) })
    }
    const accounts = async () => (await app.app.oauth2.user('victim')).accounts().map(({ id }) => id)
    return { ...one, told, another, accounts }
  }

  test('N3 A17: an account that its person did not connect has no say in whether they are signed in', async () => {
    const { app, another, accounts, logout, told, provider, clock } = await connected()
    const question = await another('mallory', 'https://evil.example/')
    expect(answer(question)).toEqual([403, 'FST_OAUTH2_CONFIRMATION_REQUIRED'])
    // While the question is open, and after the refusal.
    expect(await logout({ sub: 'sub-mallory' })).toBe(200)
    await app.browser.submit(question, 1, {}, ofVictim)
    expect(await accounts()).toEqual(['sub-alice'])
    clock.advance(60_000)
    provider.user = 'alice'
    const page = await app.browser.goto(`${app.url}/oauth2authorize`, {
      ...ofVictim,
      stopAt: ({ pathname }) => pathname.includes('/oauth2callback'),
    })
    expect(await logout({ sub: 'sub-mallory' })).toBe(200)
    const done = await app.browser.step(page.location as string, { from: provider.issuer, ...ofVictim })
    expect([done.status, told]).toEqual([303, [[], []]])
  })

  test('N3 A17: nor has one that was confirmed after it signed out', async () => {
    const { app, another, accounts, logout } = await connected()
    const question = await another('mallory', 'https://evil.example/')
    expect(await logout({ sub: 'sub-mallory' })).toBe(200)
    const page = await app.browser.submit(question, 0, {}, ofVictim)
    expect(answer(page)).toEqual([403, 'FST_OAUTH2_SIGNED_OUT'])
    expect(await accounts()).toEqual(['sub-alice'])
  })

  test('A17: an account that was taken away again has no say either, and the others keep theirs', async () => {
    const { app, another, accounts, logout, told } = await connected()
    expect((await another('bob')).status).toBe(200)
    expect(await accounts()).toEqual(['sub-alice', 'sub-bob'])
    const victim = await app.app.oauth2.user('victim')
    expect(await victim.account('sub-bob').revoke()).toMatchObject({ local: true })
    expect([await logout({ sub: 'sub-bob' }), await logout({ sub: 'sub-alice' })]).toEqual([200, 200])
    expect(told).toEqual([[], ['victim']])
  })

  test('A17: what the app could not do is a logout that failed, and may be tried again', async () => {
    let works = false
    const onLogout = () => {
      if (!works) throw new Error('a secret reason')
    }
    const { signIn, send, provider, claims } = await world({ client: { onLogout } })
    await signIn('session-1')
    const token = await provider.sign(claims({ sid: 'session-1' }))
    const failed = await send(token)
    expect(failed.status).toBe(400)
    expect(await failed.text()).not.toContain('secret')
    works = true
    expect([(await send(token)).status, (await send(token)).status]).toEqual([200, 400])
  })
})

test('A17: a guard reads the store once, with a link that lives and with one that ended', async () => {
  const { app, watched, signIn, logout, status } = await world({ client: { cacheMaxAge: 0 } })
  const browser = await signIn('session-1')
  watched.reads = []
  await status(browser)
  expect(watched.reads).toHaveLength(1)
  await logout({ sid: 'session-1' })
  watched.reads = []
  expect(await status(browser)).toBe(401)
  expect(watched.reads).toHaveLength(1)
  expect(app.logs.text()).not.toContain('session-1')
})

test('A17: more sessions than are remembered by name end those that are older', async () => {
  const { signIn, logout, status, clock } = await world({ client: { cacheMaxAge: 0 } })
  const [first, untouched] = [await signIn('session-0'), await signIn('kept')]
  await logout({ sid: 'session-0', sub: 'sub-alice' })
  clock.advance(1_000)
  const later = await signIn('later')
  expect([await status(first), await status(untouched)]).toEqual([401, 200])
  for (let n = 1; n <= 50; n++) await logout({ sid: `other-${n}`, sub: 'sub-alice' })
  expect([await status(first), await status(untouched), await status(later)]).toEqual([401, 401, 200])
})

describe('what comes over the back channel', () => {
  test('A17: is believed once, and in one process', async () => {
    const { apps, provider, claims, send, signIn, status, clock } = await world({ processes: 2 })
    const [first, second] = apps as [TestApp, TestApp]
    await signIn('session-1')
    const token = await provider.sign(claims({ sub: 'sub-alice' }))
    const good = await send(token)
    expect([good.status, good.headers.get('cache-control'), await good.text()]).toEqual([200, 'no-store', ''])
    clock.advance(1_000)
    const browser = await signIn('session-2')
    for (const app of [first, second]) {
      const replayed = await send(token, app)
      expect(replayed.status).toBe(400)
      expect(await replayed.json()).toMatchObject({ error: 'invalid_request', reason: 'replayed' })
    }
    // What was read last may be used for two seconds.
    clock.advance(2_100)
    expect(await status(browser)).toBe(200)
    const old = await provider.sign(claims({ sub: 'sub-alice', iat: clock.now() / 1000 - 86_500 }))
    expect((await send(old)).status).toBe(400)
  })

  test('A17: is believed once by two processes that hear it at the same moment', async () => {
    const inner = memoryStore()
    let waiting: (() => void)[] | undefined
    const get: CredentialStore['get'] = async (key) => {
      const value = await inner.get(key)
      // Neither goes on before both have looked whether it came before.
      if (waiting && key.startsWith('logout/')) {
        await new Promise<void>((go) => {
          waiting?.push(go)
          if (waiting?.length === 2) for (const each of waiting) each()
        })
      }
      return value
    }
    const { apps, provider, claims, send, signIn } = await world({
      processes: 2,
      storage: { ...inner, shared: true, get },
    })
    await signIn('session-1')
    const token = await provider.sign(claims({ sub: 'sub-alice' }), { typ: 'logout+jwt' })
    waiting = []
    const answers = await Promise.all(apps.map((app) => send(token, app)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
  })

  test('A17: is believed once with sessions alone, and forgotten when nobody could send it any more', async () => {
    for (const storage of ['session', 'alone', 'shared'] as const) {
      const map = new Map<string, MemoryEntry>()
      const inner = memoryStore({ map })
      const { provider, claims, send, clock } = await world({
        storage: storage === 'session' ? storage : { ...inner, shared: storage === 'shared' },
      })
      const token = async () => provider.sign(claims({ sub: 'sub-alice' }), { typ: 'logout+jwt' })
      const noted = () =>
        [...map].filter(([key, { value }]) => key.startsWith('logout/') && value !== undefined).map(([key]) => key)
      const first = await token()
      expect([storage, (await send(first)).status]).toEqual([storage, 200])
      expect([storage, (await send(first)).status]).toEqual([storage, 400])
      const [before, ...more] = noted()
      // What one process keeps to itself it need not write down, and of the token nothing can be read.
      expect(more).toEqual([])
      if (storage === 'shared') expect(before).toMatch(/^logout\/[\w.-]+\/[\w-]{43}$/)
      else expect(before).toBeUndefined()
      const others = async () => {
        expect([storage, (await send(await token())).status]).toEqual([storage, 200])
        // What is deleted is not waited for.
        await new Promise((resolve) => setImmediate(resolve))
        return noted()
      }
      clock.advance(86_400_000 + 200_000)
      if (storage === 'shared') expect(await others()).toContain(before)
      clock.advance(200_000)
      if (storage === 'shared') {
        const left = await others()
        expect(left).toHaveLength(2)
        expect(left).not.toContain(before)
      }
    }
  })

  test('A17 I2: names of keys that strangers make up have us look once a minute, and stop no sign-in after a new key', async () => {
    const { provider, claims, send, signIn, clock } = await world()
    await signIn('session-1')
    const strangers = async () => {
      for (let n = 0; n < 5; n++) {
        expect((await send(await provider.sign(claims({ sub: 'sub-alice' }), { kid: `made-up-${n}` }))).status).toBe(
          400,
        )
      }
    }
    await strangers()
    expect(provider.count('jwks')).toBe(2)
    await provider.rotateKeys()
    await signIn('session-2')
    expect(provider.count('jwks')).toBe(3)
    await strangers()
    expect(provider.count('jwks')).toBe(3)
    clock.advance(60_000)
    await strangers()
    expect(provider.count('jwks')).toBe(4)
  })

  test('A17: wherever the store fails, the provider may try again, in any process', async () => {
    for (let works = 0; ; works++) {
      let left = Number.POSITIVE_INFINITY
      const inner = memoryStore()
      const reach = async <T>(use: () => Promise<T>): Promise<T> => {
        if (left-- <= 0) throw new Error('down')
        return use()
      }
      const { apps, provider, claims, clock, send, signIn, status } = await world({
        processes: 2,
        storage: {
          get: (key) => reach(() => inner.get(key)),
          put: (...args) => reach(() => inner.put(...args)),
          delete: (...args) => reach(() => inner.delete(...args)),
        },
      })
      const browser = await signIn('session-1')
      const token = await provider.sign(claims({ sid: 'session-1', sub: 'sub-alice' }))
      left = works
      const first = await send(token)
      left = Number.POSITIVE_INFINITY
      if (first.status !== 200) {
        expect(await first.json()).toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
        expect([works, (await send(token, apps[works % 2])).status]).toEqual([works, 200])
      }
      clock.advance(2_100)
      expect([works, await status(browser)]).toEqual([works, 401])
      for (const app of apps) expect((await send(token, app)).status).toBe(400)
      if (first.status === 200) break
      expect(works).toBeLessThan(20)
    }
  })

  test('A17: tokens that are none, and bodies that are no forms, end nothing and say little', async () => {
    const { app, provider, claims, send, signIn, status } = await world()
    const browser = await signIn('session-1')
    const good = claims({ sub: 'sub-alice' })
    const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const bad = [
      '',
      'x',
      `${b64({ alg: 'none' })}.${b64(good)}.`,
      await provider.sign({ ...good, nonce: 'n' }),
      await provider.sign({ ...good, events: {} }),
      await provider.sign({ ...good, aud: 'other' }),
      await provider.sign({ ...good, exp: Number(good.iat) - 120 }),
      await provider.sign({ ...good, sub: undefined as never }),
    ]
    for (const token of bad) {
      const response = await send(token)
      const body = await response.text()
      expect([response.status, response.headers.get('cache-control')], body).toEqual([400, 'no-store'])
      expect(JSON.parse(body)).toMatchObject({ code: 'FST_OAUTH2_LOGOUT_TOKEN_INVALID', error: 'invalid_request' })
      if (token.length > 20) expect(body).not.toContain(token.slice(0, 20))
    }
    const token = await provider.sign(good)
    const url = `${app.url}/oauth2logout/backchannel`
    const post = async (body: string, type: string | undefined, to = url) => {
      const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
      const response = await fetch(to, { method: 'POST', body: Buffer.from(body), headers })
      expect(response.headers.get('cache-control')).toBe('no-store')
      if (response.status === 400) expect(await response.json()).toMatchObject({ reason: 'malformed' })
      return response.status
    }
    const form = 'application/x-www-form-urlencoded'
    expect(await post(JSON.stringify({ logout_token: token }), 'application/json')).toBe(400)
    expect(await post(`logout_token=${token}`, 'text/plain')).toBe(400)
    expect(await post(`logout_token=${token}`, `${form}x`)).toBeGreaterThanOrEqual(400)
    expect(await post('', form, `${url}?logout_token=${token}`)).toBe(400)
    expect(await post(`logout_token=${'x'.repeat(100_000)}`, form)).toBe(413)
    expect(await status(browser)).toBe(200)
    expect((await fetch(`${url}?logout_token=${token}`)).status).toBe(405)
    expect(await post(`logout_token=${token}`, `${form}; charset=utf-8`)).toBe(200)
    expect(await status(browser)).toBe(401)
    expect(app.logs.text()).not.toContain(token)
    const told = app.logs.lines.find((line) => line.includes('a logout of the provider had no effect'))
    expect(JSON.parse(told ?? '{}')).toMatchObject({ client: 'oauth2', code: 'FST_OAUTH2_LOGOUT_TOKEN_INVALID' })
  })

  test('A17: is a form by its name, also where the app reads every body as one', async () => {
    const { app, provider, claims, signIn, status } = await world({
      routes: (server) =>
        server.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) =>
          done(null, Object.fromEntries(new URLSearchParams(String(body)))),
        ),
    })
    const browser = await signIn('session-1')
    const body = `logout_token=${await provider.sign(claims({ sub: 'sub-alice' }))}`
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencodedx',
      'text/plain; x=application/x-www-form-urlencoded',
    ]) {
      const url = `${app.url}/oauth2logout/backchannel`
      const { status } = await fetch(url, { method: 'POST', body, headers: { 'content-type': type } })
      expect(status, type).toBe(400)
    }
    expect(await status(browser)).toBe(200)
  })

  test('A17: needs no session and makes none of ours, is off by default, and waits for a store that is down', async () => {
    const { provider, claims, send, watched, signIn, status } = await world()
    const browser = await signIn('session-1')
    const token = await provider.sign(claims({ sid: 'session-1' }))
    watched.broken = true
    const failed = await send(token)
    expect(failed.status).toBe(400)
    expect(await failed.json()).toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE', error: 'invalid_request' })
    watched.broken = false
    const done = await send(token)
    expect(done.status).toBe(200)
    expect(done.headers.getSetCookie().filter((cookie) => cookie.includes('oauth2client'))).toEqual([])
    expect(await status(browser)).toBe(401)
    const off = await startApp()
    expect((await fetch(`${off.url}/oauth2logout/backchannel`, { method: 'POST' })).status).toBe(404)
  })
})

describe('signing out at the provider too', () => {
  async function leaving(client: Partial<OAuth2ClientOptions> = {}) {
    const one = await world({ client: { providerLogout: true, backchannelLogout: false, ...client } })
    const { app, provider, signIn } = one
    provider.metadata = (metadata) => ({ ...metadata, end_session_endpoint: `${provider.issuer}/end` })
    await signIn('session-1', app.browser)
    const { token } = (await app.browser.xhr(`${app.url}/token`)).json()
    const post = (fields: Record<string, string> = {}, headers: Record<string, string> = { accept: 'text/html' }) =>
      app.browser.xhr(`${app.url}/oauth2logout`, {
        method: 'POST',
        body: new URLSearchParams({ _csrf: token, ...fields }),
        headers,
      })
    const finish = (query: string, browser = app.browser) =>
      browser.step(`${app.url}/oauth2logout${query}`, { from: provider.issuer })
    return { ...one, post, finish, token }
  }

  test('A17 rp-init-logout: with the ID token, and back to where the form said', async () => {
    const { app, provider, post, finish } = await leaving()
    const page = await post({ return_url: '/bye?x=1' })
    expect([page.status, page.headers.get('cache-control')]).toEqual([303, 'no-store'])
    const url = new URL(page.headers.get('location') as string)
    expect(url.origin + url.pathname).toBe(`${provider.issuer}/end`)
    const { id_token_hint: hint = '', state, ...rest } = Object.fromEntries(url.searchParams)
    expect(rest).toEqual({
      client_id: provider.clientId,
      post_logout_redirect_uri: `${app.url.replace('127.0.0.1', 'localhost')}/oauth2logout`,
    })
    expect(JSON.parse(Buffer.from(hint.split('.')[1] ?? '', 'base64url').toString()).sub).toBe('sub-alice')
    // Over here already, whether or not the person goes through with it there.
    expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(401)
    const home = await finish(`?state=${state}`)
    expect([home.status, home.headers.get('location')]).toEqual([303, '/bye?x=1'])
    // Once.
    expect(answer(await finish(`?state=${state}`))).toEqual([400, 'FST_OAUTH2_LOGOUT_STATE_INVALID'])
  })

  test('A17 rp-init-logout-no-state rp-init-logout-other-state: nobody is sent anywhere', async () => {
    const { app, clock, post, finish } = await leaving()
    const state = new URL((await post({ return_url: '/bye' })).headers.get('location') as string).searchParams.get(
      'state',
    )
    const wrong = [
      '',
      '?state=',
      '?state=other',
      `?state=${state}x`,
      `?state=${state}&state=${state}`,
      '?return_url=/bye',
    ]
    for (const query of wrong) {
      const page = await finish(query)
      expect(answer(page), query).toEqual([400, 'FST_OAUTH2_LOGOUT_STATE_INVALID'])
      expect(page.headers.get('location')).toBeNull()
    }
    // Nor in another browser, nor with another client's cookie.
    expect(answer(await finish(`?state=${state}`, new Browser()))[0]).toBe(400)
    const late = app.browser.clone()
    expect((await finish(`?state=${state}`)).status).toBe(303)
    clock.advance(600_000)
    expect(answer(await finish(`?state=${state}`, late))[0]).toBe(400)
  })

  test('A17: another site can neither sign people out nor send them to the provider', async () => {
    const { app, token } = await leaving()
    const page = await app.browser.xhr(`${app.url}/oauth2logout`, {
      method: 'POST',
      body: new URLSearchParams({ _csrf: token }),
      from: 'https://evil.example/',
    })
    expect(answer(page)).toEqual([403, 'FST_OAUTH2_XSRF_INVALID'])
    expect(page.headers.get('location')).toBeNull()
  })

  test('D6: where people go afterwards is a path of ours', async () => {
    for (const evil of ['https://evil.example/', '//evil.example', '/oauth2logout', '/oauth2logout/backchannel']) {
      const { post, finish } = await leaving()
      const { searchParams } = new URL((await post({ return_url: evil })).headers.get('location') as string)
      expect(searchParams.get('post_logout_redirect_uri')).toContain('/oauth2logout')
      expect((await finish(`?state=${searchParams.get('state')}`)).headers.get('location')).toBe('/')
    }
    for (const postLogoutRedirectUri of ['http://example.com/', 'javascript:alert(1)', '/bye', 'https://a.example/#x'])
      await expect(startApp({ client: { postLogoutRedirectUri } })).rejects.toThrow('postLogoutRedirectUri')
    const { post } = await leaving({ postLogoutRedirectUri: 'https://www.example.com/bye' })
    const { searchParams } = new URL((await post()).headers.get('location') as string)
    expect(searchParams.get('post_logout_redirect_uri')).toBe('https://www.example.com/bye')
  })

  test('programs get the URL; a provider without one, or one that is down, keeps nobody signed in', async () => {
    const { provider, post } = await leaving()
    const page = await post({}, { accept: 'application/json' })
    expect([page.status, Object.keys(page.json())]).toEqual([200, ['endSessionUrl']])
    expect(page.json().endSessionUrl).toContain(`${provider.issuer}/end?`)
    // No ID token in what a script of the page can read.
    const { searchParams } = new URL(page.json().endSessionUrl)
    expect([...searchParams.keys()].sort()).toEqual(['client_id', 'post_logout_redirect_uri', 'state'])
    for (const secret of provider.secrets()) expect(page.body).not.toContain(secret)
    const without = await world({ client: { providerLogout: true } })
    await without.signIn('session-1', without.app.browser)
    const { token } = (await without.app.browser.xhr(`${without.app.url}/token`)).json()
    const local = await without.app.browser.xhr(`${without.app.url}/oauth2logout`, {
      method: 'POST',
      body: new URLSearchParams({ _csrf: token }),
    })
    expect(local.status).toBe(204)
  })

  test('a provider that is down keeps nobody signed in, and the log says that they are still signed in there', async () => {
    const { apps, app, provider, signIn, status } = await world({
      processes: 2,
      client: { providerLogout: true, backchannelLogout: false },
    })
    await signIn('session-1', app.browser)
    const { token } = (await app.browser.xhr(`${app.url}/token`)).json()
    // The second process has asked the provider nothing so far.
    const second = apps[1] as TestApp
    provider.discoveryAnswer = () => ({ status: 503, body: 'down' })
    const page = await app.browser.xhr(`${second.url}/oauth2logout`, {
      method: 'POST',
      body: new URLSearchParams({ _csrf: token, return_url: '/bye' }),
      headers: { accept: 'text/html' },
    })
    expect([page.status, page.headers.get('location')]).toEqual([303, '/bye'])
    expect(ourCookies(page)).toEqual([])
    const told = second.logs.lines.find((line) => line.includes('signed out here, and not at the provider'))
    expect(JSON.parse(told ?? '{}')).toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE', client: 'oauth2' })
    expect(await status(app.browser)).toBe(401)
  })

  test('what the app itself throws meanwhile is the app’s, and nobody is told that they were signed out', async () => {
    let broken = false
    const userKey = () => {
      if (broken) throw new Error('the database of users is down')
      return 'u1'
    }
    const { app, provider, post } = await leaving({ userKey, logout: true })
    provider.metadata = (metadata) => ({ ...metadata, end_session_endpoint: `${provider.issuer}/end` })
    broken = true
    const page = await post()
    expect([page.status, page.json().message]).toEqual([500, 'the database of users is down'])
    broken = false
    expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(200)
  })

  test('nobody is sent to the provider where the app does not want it, or where there is no such place', async () => {
    for (const without of ['option', 'endpoint']) {
      const { app, provider, signIn } = await world({ client: { providerLogout: without === 'endpoint' } })
      provider.metadata = (metadata) => ({
        ...metadata,
        ...(without === 'option' ? { end_session_endpoint: `${provider.issuer}/end` } : {}),
      })
      await signIn('session-1', app.browser)
      const { token } = (await app.browser.xhr(`${app.url}/token`)).json()
      const page = await app.browser.xhr(`${app.url}/oauth2logout`, {
        method: 'POST',
        body: new URLSearchParams({ _csrf: token, return_url: '/bye' }),
        headers: { accept: 'text/html' },
      })
      expect([without, page.status, page.headers.get('location')]).toEqual([without, 303, '/bye'])
      expect(ourCookies(page), without).toEqual([])
    }
  })

  test('a refusal to sign out is told to the app, and kept by no cache', async () => {
    const { post } = await leaving({ onError: async (error) => ({ refused: error.code }) })
    const page = await post({ _csrf: 'x' })
    expect([page.headers.get('cache-control'), page.json()]).toEqual([
      'no-store',
      { refused: 'FST_OAUTH2_XSRF_INVALID' },
    ])
  })

  test('A16: a cookie of a sign-out that was tampered with is a 400; a person may take ten minutes', async () => {
    const { app, clock, post, finish } = await leaving()
    const { searchParams } = new URL((await post({ return_url: '/bye' })).headers.get('location') as string)
    const query = `?state=${searchParams.get('state')}`
    const { hostname } = new URL(app.url)
    const tampered = app.browser.clone()
    const [cookie] = tampered.cookies(hostname).filter(({ name }) => name.includes('oauth2client.logout.'))
    if (!cookie) throw new Error('no cookie')
    for (const value of [`${cookie.value}x`, cookie.value.slice(0, -5), 'x']) {
      tampered.setCookie(hostname, { ...cookie, value })
      expect(answer(await finish(query, tampered))).toEqual([400, 'FST_OAUTH2_LOGOUT_STATE_INVALID'])
    }
    clock.advance(599_000)
    expect((await finish(query)).headers.get('location')).toBe('/bye')
  })

  test('two clients of one app that are left at the same moment both lead back', async () => {
    const other = await startScriptedProvider()
    onTestFinished(() => other.close())
    other.metadata = (metadata) => ({ ...metadata, end_session_endpoint: `${other.issuer}/end` })
    const { app, provider, signIn } = await world({
      client: { providerLogout: true },
      routes(server) {
        server.register(oauth2Client, {
          name: 'other',
          provider: { issuer: other.issuer },
          clientId: other.clientId,
          clientSecret: other.clientSecret as string,
          storage: memoryStore(),
          encryptionKeys: KEY,
          providerLogout: true,
        })
        server.get('/other', { onRequest: requireOAuth(undefined, { client: 'other' }) }, async (request) => ({
          token: (request as unknown as { other: { xsrfToken: string } }).other.xsrfToken,
        }))
      },
    })
    provider.metadata = (metadata) => ({ ...metadata, end_session_endpoint: `${provider.issuer}/end` })
    await signIn('session-1', app.browser)
    const tokens = {
      '/oauth2logout/other': (await app.browser.goto(`${app.url}/other`)).json().token,
      '/oauth2logout': (await app.browser.xhr(`${app.url}/token`)).json().token,
    }
    const left: string[] = []
    for (const [path, _csrf] of Object.entries(tokens)) {
      const page = await app.browser.xhr(app.url + path, {
        method: 'POST',
        body: new URLSearchParams({ _csrf, return_url: `/bye?from=${path}` }),
        headers: { accept: 'text/html' },
      })
      const { searchParams } = new URL(page.headers.get('location') as string)
      left.push(`${path}?state=${searchParams.get('state')}`)
    }
    for (const back of left) {
      const page = await app.browser.step(app.url + back, { from: provider.issuer })
      expect(page.headers.get('location')).toBe(`/bye?from=${back.replace(/\?.*/, '')}`)
    }
  })
})
