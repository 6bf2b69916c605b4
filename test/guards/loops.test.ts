import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'

/** Pages that know nothing of OAuth, and ways of the app to end its own session. */
function appPages(app: FastifyInstance): void {
  app.get('/plain', async () => 'plain')
  app.post('/destroy', async (request) => {
    const { session } = request as unknown as { session: { destroy?: () => Promise<void>; delete?: () => void } }
    if (session.destroy) await session.destroy()
    else session.delete?.()
    return 'gone'
  })
  app.post('/bye', async ({ oauth2 }) => {
    await oauth2.signOut()
    return 'bye'
  })
  app.post('/forget', async ({ oauth2 }) => oauth2.revoke())
}

describeEachSession((variant) => {
  describe.each(['session', 'memory'] as const)('storage: %s', (kind) => {
    const start = (options: TestAppOptions = {}): Promise<TestApp> =>
      startApp({ variant, storage: kind === 'session' ? 'session' : memoryStore(), routes: appPages, ...options })

    test('N5: a session cookie that vanishes ends in an error after one round', async () => {
      const { browser, url, provider } = await start()
      const back = await browser.goto(`${url}/profile`, {
        stopAt: (next) => next.pathname === '/profile' && browser.log.length > 1,
      })
      expect(back.status).toBe(303)
      browser.deleteCookie('localhost', variant.cookieName)
      const page = await browser.goto(`${url}/profile`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_AUTHORIZATION_LOOP')])
      expect(provider.count('authorize')).toBe(1)
      // Whoever allows the cookie meanwhile has a way on.
      const href = /href="([^"]+)"/.exec(page.body)?.[1] as string
      const again = await browser.goto(href.replaceAll('&#38;', '&'), { from: page })
      expect([again.status, again.url]).toEqual([200, `${url}/profile`])
    })

    test('N5: a page for everybody in between does not have the same error come later', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`, { stopAt: (next) => next.pathname === '/profile' && browser.log.length > 1 })
      browser.deleteCookie('localhost', variant.cookieName)
      expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
      const page = await browser.goto(`${url}/profile`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_AUTHORIZATION_LOOP')])
      expect(provider.count('authorize')).toBe(1)
    })

    test('N5: tokens that have expired on arrival end in an error after one round', async () => {
      const { browser, url, provider } = await start()
      provider.expiresIn = 0
      provider.refreshTokenPolicy = 'never'
      for (const path of ['/profile', '/profile', '/files']) {
        const page = await browser.goto(url + path)
        expect([path, page.status]).toEqual([path, 403])
        expect(page.body).toContain('FST_OAUTH2_AUTHORIZATION_LOOP')
      }
      expect(provider.count('authorize')).toBe(2)
      provider.expiresIn = 3600
      const page = await browser.xhr(`${url}/profile`)
      expect([page.status, page.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    })

    test('N5: tokens that live for seconds are used while they live, and end in an error when they come back dead', async () => {
      const { browser, url, provider, clock } = await start()
      provider.expiresIn = 20
      provider.refreshTokenPolicy = 'never'
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      expect((await browser.goto(`${url}/profile`)).chain).toHaveLength(1)
      clock.advance(21_000)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
      // Their time was over before anybody could use them.
      provider.tokenAnswer = async (_params, defaults) => {
        const answer = await defaults()
        clock.advance(25_000)
        return { body: { ...answer.body, expires_in: 0 } }
      }
      const page = await browser.goto(`${url}/profile`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_AUTHORIZATION_LOOP')])
      expect(provider.count('authorize')).toBe(2)
    })

    test('F4: a browser that keeps no cookies ends in an error after one round', async () => {
      const { url, provider } = await start()
      const page = await new Browser({ headers: { cookie: null } }).goto(`${url}/profile`)
      expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
      expect(provider.count('authorize')).toBe(1)
      expect(provider.count('token')).toBe(0)
    })

    test('K2: a provider that grants less than it says ends in an error after one round', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
      for (let visit = 0; visit < 3; visit++) {
        expect((await browser.goto(`${url}/files`)).status).toBe(403)
      }
      expect(provider.count('authorize')).toBe(2)
    })

    describe('is not what it looks like', () => {
      const endings = {
        'the app destroys its session': '/destroy',
        'the app signs its user out': '/bye',
        'the grant is revoked': '/forget',
      }
      test.each(Object.entries(endings))('when %s right after signing in', async (_name, path) => {
        const { browser, url, provider } = await start()
        await browser.goto(`${url}/profile`)
        for (let round = 1; round <= 3; round++) {
          expect((await browser.xhr(url + path, { method: 'POST' })).status).toBe(200)
          expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
          const page = await browser.goto(`${url}/profile`)
          expect([round, page.status, page.url]).toEqual([round, 200, `${url}/profile`])
          expect(provider.count('authorize')).toBe(round + 1)
        }
      })

      test('when somebody signs out by the form, before any guard saw the sign-in', async () => {
        const { browser, url, provider } = await start({
          routes: (app) => {
            appPages(app)
            app.get('/token', async ({ oauth2 }) => (await oauth2.load()).xsrfToken)
          },
        })
        expect((await browser.goto(`${url}/oauth2authorize?return_url=/plain`)).body).toBe('plain')
        const token = (await browser.xhr(`${url}/token`)).body
        const out = await browser.xhr(`${url}/oauth2logout`, { method: 'POST', headers: { 'x-csrf-token': token } })
        expect(out.status).toBe(204)
        const page = await browser.goto(`${url}/profile`)
        expect([page.status, page.url]).toEqual([200, `${url}/profile`])
        expect(provider.count('authorize')).toBe(2)
      })

      test('when the app signs its user out, before any guard saw the sign-in', async () => {
        const { browser, url } = await start()
        expect((await browser.goto(`${url}/oauth2authorize?return_url=/plain`)).body).toBe('plain')
        await browser.xhr(`${url}/bye`, { method: 'POST' })
        expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      })
    })
  })

  test('a guard over everything leaves out the routes that it leads through', async () => {
    const { browser, url, provider } = await startApp({
      variant,
      routes: (app) => {
        app.addHook('onRequest', requireOAuth())
        app.get('/token', async ({ oauth2 }) => oauth2.xsrfToken)
      },
    })
    expect((await browser.xhr(`${url}/token`)).status).toBe(401)
    const page = await browser.goto(`${url}/token`)
    expect([page.status, page.url]).toEqual([200, `${url}/token`])
    expect(provider.count('authorize')).toBe(1)
    const out = await browser.xhr(`${url}/oauth2logout`, { method: 'POST', headers: { 'x-csrf-token': page.body } })
    expect(out.status).toBe(204)
    expect((await browser.goto(`${url}/oauth2authorize?return_url=/profile`)).json()).toMatchObject({
      user: 'sub-alice',
    })
  })

  test('a guard of a second client over everything too', async () => {
    const { browser, url, provider } = await startApp({
      variant,
      storage: memoryStore(),
      routes: (app, { issuer, clientId, clientSecret }) => {
        app.register(oauth2Client, {
          name: 'second',
          provider: { issuer },
          clientId,
          clientSecret: clientSecret as string,
          storage: memoryStore(),
        })
        app.addHook('onRequest', requireOAuth())
        app.addHook('onRequest', requireOAuth([], { client: 'second' }))
      },
    })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.url]).toEqual([200, `${url}/profile`])
    expect(provider.count('authorize')).toBe(2)
  })
})

test('N5: a session store that forgets ends in an error after one round', async () => {
  class Forgetful extends SlowSessionStore {
    override set(id: string, session: never, done: (error?: unknown) => void): void {
      super.set(id, session, (error) => {
        this.records.clear()
        done(error)
      })
    }
  }
  const [variant] = sessionVariants as [SessionVariant]
  const { browser, url, provider } = await startApp({
    variant: { ...variant, register: (app) => variant.register(app, { store: new Forgetful(1) }) },
  })
  const page = await browser.goto(`${url}/profile`)
  expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
  expect(provider.count('authorize')).toBe(1)
})

test('scopes that are too many for a small cookie do not hide a loop', async () => {
  const some = (n: number) => Array.from({ length: 10 }, (_, i) => `https://api.example.com/auth/longer.name.${n}${i}`)
  const { browser, url, provider } = await startApp({
    storage: memoryStore(),
    routes: (app) => {
      app.get('/link', { onRequest: requireOAuth() }, async ({ oauth2, query }) =>
        oauth2.authorizeUrl('/', { scopes: some((query as { n: number }).n) }),
      )
    },
  })
  await browser.goto(`${url}/link`)
  for (const n of [1, 2, 3, 4]) await browser.goto(url + (await browser.xhr(`${url}/link?n=${n}`)).body)
  provider.refreshTokenPolicy = 'never'
  provider.expiresIn = 0
  provider.withdraw()
  await browser.goto(`${url}/api`)
  const asked = provider.count('authorize')
  expect(provider.requests.findLast(({ endpoint }) => endpoint === 'authorize')?.params.scope?.length).toBeGreaterThan(
    1_600,
  )
  for (let visit = 0; visit < 3; visit++) {
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_AUTHORIZATION_LOOP')])
  }
  expect(provider.count('authorize')).toBe(asked)
  expect(browser.rejectedCookies).toEqual([])
})
