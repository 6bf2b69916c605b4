import type { FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { Credentials } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { Gate } from '../helpers/hold.js'
import {
  describeEachSession,
  type SessionOptions,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants as variants,
} from '../helpers/session-plugins.js'
import { answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

interface AppSession {
  get(key: string): unknown
  set(key: string, value: unknown): void
  destroy?(): Promise<void>
  delete?(): void
}
const sessionOf = (request: FastifyRequest) => request.session as unknown as AppSession

const withOptions = (variant: SessionVariant, options: SessionOptions): SessionVariant => ({
  ...variant,
  register: (app) => variant.register(app, options),
})

const REQUIRED = [500, 'FST_OAUTH2_SESSION_REQUIRED']
const UNUSABLE = [500, 'FST_OAUTH2_SESSION_COOKIE_UNUSABLE']

test('F4: a missing session plugin is an error that says what to register, on every way in', async () => {
  const none: SessionVariant = { name: 'none', kind: 'session', cookieName: '', hasStore: false, register() {} }
  const { browser, url, logs } = await startApp({ variant: none })
  for (const path of ['/profile', '/oauth2authorize', '/oauth2callback?state=x&code=y']) {
    const page = await browser.goto(url + path)
    expect(page.chain).toHaveLength(1)
    expect(answer(page)).toEqual(REQUIRED)
    expect(page.body).toContain('@fastify/session')
    expect(ourCookies(page)).toEqual([])
  }
  expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({
    statusCode: 500,
    code: REQUIRED[1],
    message: expect.stringMatching(/register @fastify\/session or @fastify\/secure-session before/i),
  })
  expect(answer(await browser.xhr(`${url}/oauth2logout`, { method: 'POST' }))).toEqual(REQUIRED)
  expect(logs.text()).toContain('FST_OAUTH2_SESSION_REQUIRED')
})

describeEachSession((variant) => {
  const loopFree = async ({ browser, url }: TestApp, path: string) => {
    const page = await browser.goto(url + path)
    expect(page.chain.length).toBeLessThanOrEqual(3)
    return page
  }

  test('a session plugin registered after ours works on routes, and says so where it cannot', async () => {
    const app = await startApp({
      variant: { ...variant, register() {} },
      routes(server) {
        variant.register(server)
        server.get('/declared', { config: { oauth2: true } }, async () => 'in')
      },
    })
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    const page = await loopFree(app, '/declared')
    if (page.status !== 200) expect(answer(page)).toEqual(REQUIRED)
    if (page.status !== 200) expect(page.body).toContain('before fastify-oauth2client')
  })

  test('F3, F4: a secure session cookie over plain HTTP is an error, not a loop', async () => {
    const app = await startApp({ variant: withOptions(variant, { cookie: { secure: true } }) })
    for (const path of ['/oauth2authorize', '/profile']) {
      // The plugin does not tell its cookie’s attributes; the callback notices when it does not come along.
      if (variant.kind === 'secure-session') continue
      const page = await loopFree(app, path)
      expect(answer(page)).toEqual(UNUSABLE)
      expect(page.body).toMatch(/trustProxy.*auto/)
      expect(ourCookies(page)).toEqual([])
    }
    expect(flowCookies(app.browser)).toEqual([])
  })

  test('F4: a session that never comes back is refused once, with a hint in the log, and not a loop', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    app.browser.deleteCookie('localhost', variant.cookieName)
    const page = await back(app, callback)
    expect(answer(page)).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
    expect(app.provider.count('token')).toBe(0)
    expect(app.logs.text()).toMatch(/without the session/)
  })

  test('N5: a session that is lost after the callback is told after one round', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    expect((await back(app, callback)).status).toBe(303)
    app.browser.deleteCookie('localhost', variant.cookieName)
    expect(answer(await loopFree(app, '/profile'))).toEqual([403, 'FST_OAUTH2_AUTHORIZATION_LOOP'])
    app.clock.advance(61_000)
    expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
  })

  test('F1: SameSite=Strict is an error, or at least no loop', async () => {
    const app = await startApp({ variant: withOptions(variant, { cookie: { sameSite: 'strict', secure: false } }) })
    const there = { ...app, url: app.url.replace('localhost', '127.0.0.1') }
    if (variant.kind === 'session') {
      for (const path of ['/oauth2authorize', '/profile']) {
        const page = await loopFree(there, path)
        expect(answer(page)).toEqual(UNUSABLE)
        expect(page.body).toMatch(/sameSite.*lax/)
      }
      return
    }
    // The plugin does not tell its cookie’s attributes; the callback notices that it did not come along.
    const { callback } = await begin(there, '/profile')
    const page = await back(there, callback)
    expect(answer(page)).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
    expect(app.logs.text()).toMatch(/sameSite/)
  })

  test('a session cookie whose path leaves our routes out is an error, or at least no loop', async () => {
    const app = await startApp({
      variant: withOptions(variant, { cookie: { path: '/inside' } }),
      routes: (server) => server.get('/inside', { config: { oauth2: true } }, async () => 'in'),
    })
    const outside = await loopFree(app, '/profile')
    if (variant.kind === 'session') {
      expect(answer(outside)).toEqual(REQUIRED)
      expect(outside.body).toContain('path')
      expect(answer(await loopFree(app, '/oauth2authorize'))).toEqual(REQUIRED)
    } else {
      expect(answer(outside)).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
    }
    expect((await loopFree(app, '/inside')).status).toBeGreaterThanOrEqual(400)
  })

  test('a session that a handler ended stays ended, whatever it does then', async () => {
    const app = await startApp({
      variant,
      routes: (server) =>
        server.get('/end', { config: { oauth2: true } }, async (request) => {
          const session = sessionOf(request)
          if (session.destroy) await session.destroy()
          else session.delete?.()
          const token = await request.oauth2.getAccessToken()
          await request.oauth2.signOut()
          return { usable: token.token !== '', credentials: request.oauth2.credentials }
        }),
    })
    const { browser, url } = app
    await browser.goto(`${url}/profile`)
    expect((await browser.goto(`${url}/end`)).json()).toEqual({ usable: true, credentials: null })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })

  test('F6: credentials that do not fit into a cookie are an error that names what to do, and leave the session alone', async () => {
    const routes: TestAppOptions['routes'] = (server) =>
      server.get<{ Querystring: { put?: string } }>('/cart', async (request) => {
        if (request.query.put) sessionOf(request).set('cart', request.query.put)
        return { cart: sessionOf(request).get('cart') ?? null }
      })
    const app = await startApp({ variant, routes })
    app.provider.tokenAnswer = async (_params, defaults) => ({
      body: { ...(await defaults()).body, access_token: 'a'.repeat(4_000) },
    })
    await app.browser.goto(`${app.url}/cart?put=book`)
    const { callback } = await begin(app, '/profile')
    const page = await back(app, callback)
    if (variant.kind === 'session') {
      expect(page.status).toBe(303)
    } else {
      expect(answer(page)).toEqual([500, 'FST_OAUTH2_SESSION_TOO_LARGE'])
      expect(page.body).toMatch(/sqlStore.*redisStore.*memoryStore/)
      expect(answer(await loopFree(app, '/profile'))[0]).toBeGreaterThanOrEqual(403)
    }
    expect((await app.browser.goto(`${app.url}/cart`)).json()).toEqual({ cart: 'book' })
    expect(app.browser.rejectedCookies).toEqual([])

    const stored = await startApp({ variant, storage: memoryStore(), provider: app.provider })
    expect((await stored.browser.goto(`${stored.url}/profile`)).status).toBe(200)
    expect(stored.browser.rejectedCookies).toEqual([])
  })

  test('F6: long return URLs do not fill the session up', async () => {
    const app = await startApp({ variant, storage: memoryStore() })
    for (let flow = 0; flow < 6; flow++) {
      const { callback } = await begin(app, `/oauth2authorize?return_url=/${flow}${'x'.repeat(1_900)}`)
      expect((await back(app, callback)).status).toBe(303)
      const again = await back(app, callback)
      if (variant.kind === 'session') expect(again.status).toBe(303)
      expect((await app.browser.goto(`${app.url}/profile`)).chain).toHaveLength(1)
    }
    expect(app.browser.rejectedCookies).toEqual([])
    const size = app.browser.cookies().find(({ name }) => name === variant.cookieName)?.value.length
    expect(size).toBeLessThan(1_500)
  })

  describe('a slow request that writes the whole session back', () => {
    async function slowApp(options: TestAppOptions = {}) {
      let gate = new Gate()
      const app = await startApp({
        variant,
        ...options,
        routes(server) {
          server.get('/slow', async (request) => {
            sessionOf(request).set('mine', Date.now())
            await gate.pass()
            return 'slow'
          })
          server.get('/revoke', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.revoke())
          server.get('/out', { config: { oauth2: 'aware' } }, async ({ oauth2 }) => {
            await oauth2.signOut()
            return 'out'
          })
          server.get('/adopt', { config: { oauth2: 'aware' } }, async ({ oauth2 }) => {
            await oauth2.revoke()
            await oauth2.adopt(Credentials.fromAccessToken('adopted', { userId: 'sub-alice' }))
            return oauth2.userId
          })
        },
      })
      const { browser, url } = app
      /** What happens meanwhile is overtaken by the answer of the slow request. */
      const overtaken = async (meanwhile: () => Promise<unknown>) => {
        gate = new Gate()
        const slow = browser.goto(`${url}/slow`)
        await gate.arrived()
        await meanwhile()
        gate.release()
        expect((await slow).status).toBe(200)
      }
      return { ...app, overtaken }
    }

    test('J8: after a refresh does not bring the old tokens to use', async () => {
      const app = await slowApp()
      const { browser, url, provider, clock, overtaken } = app
      // Asked for by scripts, because a page would quietly sign in again.
      provider.refreshTokenPolicy = 'rotate'
      await browser.goto(`${url}/profile`)
      clock.advance(3_601_000)
      await overtaken(async () => expect((await browser.xhr(`${url}/api`)).status).toBe(200))
      expect(provider.count('token', 'refresh_token')).toBe(1)
      expect((await browser.xhr(`${url}/api`)).status).toBe(200)
      expect(provider.count('token', 'refresh_token')).toBe(1)
      clock.advance(3_601_000)
      // A refresh token that was used before would end the whole grant.
      expect((await browser.xhr(`${url}/api`)).status).toBe(200)
      expect((await browser.xhr(`${url}/api`)).status).toBe(200)
      expect(provider.count('token', 'refresh_token')).toBe(2)
    })

    test('J8: after two refreshes does not bring the first tokens to use', async () => {
      const app = await slowApp({ client: { refreshBeforeExpiry: 0 } })
      const { browser, url, provider, clock, overtaken } = app
      provider.refreshTokenPolicy = 'rotate'
      await browser.goto(`${url}/profile`)
      clock.advance(3_601_000)
      provider.expiresIn = 5
      await overtaken(async () => {
        expect((await browser.xhr(`${url}/api`)).status).toBe(200)
        clock.advance(6_000)
        expect((await browser.xhr(`${url}/api`)).status).toBe(200)
      })
      clock.advance(6_000)
      expect((await browser.xhr(`${url}/api`)).status).toBe(200)
      expect(provider.count('token', 'refresh_token')).toBe(3)
    })

    for (const storage of ['session', 'memory'] as const) {
      const options = () => ({ storage: storage === 'session' ? ('session' as const) : memoryStore() })

      test(`J8: after a further grant does not bring the old tokens to use (${storage})`, async () => {
        const { browser, url, overtaken } = await slowApp(options())
        await browser.goto(`${url}/profile`)
        await overtaken(async () => expect((await browser.goto(`${url}/files`)).status).toBe(200))
        const page = await browser.goto(`${url}/files`)
        expect([page.status, page.chain.length]).toEqual([200, 1])
      })

      test(`J8: after somebody else signed in does not bring the former person back (${storage})`, async () => {
        const { browser, url, provider, overtaken } = await slowApp(options())
        await browser.goto(`${url}/profile`)
        provider.user = 'bob'
        await overtaken(() => browser.goto(`${url}/oauth2authorize`))
        const { user } = (await browser.goto(`${url}/`)).json()
        // The plugin may have lost the new session; the old person is not in it in any case.
        expect([null, 'sub-bob']).toContain(user)
        expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-bob')
      })

      test(`J11: after a sign-out does not sign in again (${storage})`, async () => {
        const { browser, url, overtaken } = await slowApp(options())
        await browser.goto(`${url}/profile`)
        await overtaken(() => browser.goto(`${url}/out`))
        expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
        expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
        const page = await browser.goto(`${url}/profile`)
        expect([page.status, (await browser.goto(`${url}/profile`)).chain.length]).toEqual([200, 1])
      })

      test(`J11: after a revocation does not resurrect what was revoked (${storage})`, async () => {
        const { browser, url, provider, overtaken } = await slowApp(options())
        await browser.goto(`${url}/files`)
        await overtaken(async () =>
          expect((await browser.goto(`${url}/revoke`)).json()).toEqual({ local: true, remote: 'revoked' }),
        )
        expect((await browser.goto(`${url}/`)).json().has).toBe(false)
        expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
        expect(provider.count('token')).toBe(1)
        // Signing in again works, and does not bring the scopes of the revoked grant back.
        provider.grant = () => ['openid', 'email']
        expect((await browser.goto(`${url}/profile`)).json().scopes).toEqual(['openid', 'email'])
        expect((await browser.goto(`${url}/profile`)).chain).toHaveLength(1)
      })
    }

    test('adopting credentials right after revoking those in the session ends, either way', async () => {
      const { browser, url } = await slowApp()
      await browser.goto(`${url}/profile`)
      expect([200, 401]).toContain((await browser.xhr(`${url}/adopt`)).status)
    })
  })

  test('A1: a flow that was planted in somebody’s browser does not sign them in as somebody else', async () => {
    const app = await startApp({ variant })
    const attacker = new Browser()
    const plant = () => {
      for (const cookie of attacker.cookies()) {
        if (cookie.name !== variant.cookieName) app.browser.setCookie('localhost', cookie)
      }
    }
    await attacker.goto(`${app.url}/oauth2authorize`, { stopAt: () => true })
    app.clock.advance(11_000)
    app.provider.user = 'mallory'
    const planted = await begin(app, '/oauth2authorize?return_url=/trap', { browser: attacker })
    // Not even a session that has begun a flow of its own.
    await begin(app)
    plant()
    expect(answer(await back(app, planted.callback))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
    expect((await app.browser.goto(`${app.url}/`)).json().user).toBeNull()
    // A flow that began without a session may end in another one, but not turn one person into another.
    app.provider.user = 'alice'
    await app.browser.goto(`${app.url}/profile`)
    app.provider.user = 'mallory'
    const other = new Browser()
    const fresh = await begin(app, undefined, { browser: other })
    for (const cookie of other.cookies()) {
      if (cookie.name !== variant.cookieName) app.browser.setCookie('localhost', cookie)
    }
    expect(answer(await back(app, fresh.callback))).toEqual([403, 'FST_OAUTH2_ACCOUNT_MISMATCH'])
    expect((await app.browser.goto(`${app.url}/profile`)).json().user).toBe('sub-alice')
  })
})

describe('A14: a session store that is down', () => {
  const slow = (store: SlowSessionStore): SessionVariant => {
    const [, variant] = variants
    return withOptions(variant as SessionVariant, { store })
  }

  test.each(['get', 'set', 'destroy'] as const)('%s: never lets a check pass', async (operation) => {
    const store = new SlowSessionStore()
    const app = await startApp({ variant: slow(store) })
    const { browser, url, provider } = app
    const { callback } = await begin(app, '/profile')
    store.failing = operation
    const page = await back(app, callback)
    expect([500, 503]).toContain(page.status)
    expect(page.location).toBeNull()
    if (operation === 'get') expect(provider.count('token')).toBe(0)
    for (const path of ['/profile', '/files', '/oauth2authorize']) {
      if (operation === 'destroy') continue
      const guarded = await browser.goto(url + path, { stopAt: ({ pathname }) => pathname === '/authorize' })
      expect([500, 503]).toContain(guarded.status)
      expect(guarded.body).not.toContain('sub-alice')
    }
    store.failing = false
    // Nothing is stuck: the same flow, or a new one, goes through.
    if (operation === 'get') expect((await back(app, callback)).status).toBe(303)
    app.clock.advance(61_000)
    expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-alice')
  })

  test('with somebody signed in, nothing is answered from memory', async () => {
    const store = new SlowSessionStore()
    const { browser, url, provider } = await startApp({ variant: slow(store), storage: memoryStore() })
    await browser.goto(`${url}/profile`)
    store.failing = true
    for (const path of ['/profile', '/']) expect((await browser.goto(url + path)).status).toBe(500)
    expect((await browser.xhr(`${url}/oauth2logout`, { method: 'POST' })).status).toBe(500)
    store.failing = false
    expect((await browser.goto(`${url}/profile`)).chain).toHaveLength(1)
    expect(provider.count('token')).toBe(1)
  })
})
