import type { FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type CredentialStore, type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import { KeyRing } from '../../src/keys/key-ring.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import type { Page } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import type { ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, SlowSessionStore } from '../helpers/session-plugins.js'

const HOUR = 3_600_000

/** The link on the page that we show to people. */
function wayOn(page: Page): string {
  const href = /<a class="way" href="([^"]+)"/.exec(page.body)?.[1]
  if (!href) throw new Error(`no way on: ${page.status} ${page.body.slice(0, 200)}`)
  return new URL(
    href.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))),
    page.url,
  ).href
}

function deny(provider: ScriptedProvider): void {
  provider.authorizeAnswer = ({ state }) => ({ error: 'access_denied', state: String(state), iss: provider.issuer })
}

/** A second app behind the same session cookies, as a second process of a deployment is. */
function sharedSessions(variant: SessionVariant): SessionVariant {
  const store = new SlowSessionStore(0)
  return { ...variant, register: (app) => variant.register(app, { store }) }
}

/** Time that no test can wait for: the refresher's own clock, which only ever goes forward. */
function skipMonotonic(ms: number): void {
  const real = performance.now.bind(performance)
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => real() + ms)
  onTestFinished(() => spy.mockRestore())
}

function echo(app: FastifyInstance): void {
  app.get('/echo/*', { onRequest: requireOAuth() }, async (request) => ({ url: request.raw.url }))
}

describeEachSession((variant) => {
  describe.each(['session', 'memory'] as const)('storage: %s', (kind) => {
    function start(options: TestAppOptions = {}): Promise<TestApp> {
      const clock = options.clock ?? fakeClock()
      return startApp({
        variant,
        clock,
        storage: kind === 'session' ? 'session' : memoryStore({ clock: clock.now }),
        ...options,
      })
    }

    async function signedIn(options: TestAppOptions = {}): Promise<TestApp> {
      const started = await start(options)
      expect((await started.browser.goto(`${started.url}/profile`)).status).toBe(200)
      return started
    }

    describe('a navigation', () => {
      test('without credentials is sent to the provider, uncached, and comes back to exactly where it was', async () => {
        const { browser, url, provider } = await start({ routes: echo })
        const deep = '/echo/a%20b/%E2%9C%93/c%2Fd?x=1&y=a%26b%20c&z=%2F%2Fevil.example&plus=a+b&q=%22%27#part'
        const sent = await browser.step(url + deep)
        expect(sent.status).toBe(302)
        expect(sent.location).toMatch(`${provider.issuer}/authorize?`)
        expect(sent.headers.get('cache-control')).toBe('no-store')
        const page = await browser.goto(url + deep)
        expect(page.status).toBe(200)
        expect(url + page.json().url).toBe((url + deep).replace('#part', ''))
      })

      test('K1: with missing scopes is sent for the union and comes back', async () => {
        const { browser, url, provider } = await signedIn()
        const sent = await browser.step(`${url}/files?page=2`)
        expect(sent.status).toBe(302)
        expect(sent.headers.get('cache-control')).toBe('no-store')
        expect(new URL(sent.location as string).searchParams.get('scope')?.split(' ').sort()).toEqual([
          'email',
          'files.read',
          'openid',
        ])
        expect(new URL(sent.location as string).searchParams.get('login_hint')).toBe('alice@example.com')
        const page = await browser.goto(`${url}/files?page=2`)
        expect([page.status, page.url]).toEqual([200, `${url}/files?page=2`])
        expect(provider.count('token')).toBe(2)
      })

      test('with everything it needs reaches the handler without a word to the provider', async () => {
        const { browser, url, provider } = await signedIn()
        const before = provider.requests.length
        const page = await browser.goto(`${url}/profile`)
        expect(page.json()).toMatchObject({ user: 'sub-alice' })
        expect(page.chain).toHaveLength(1)
        expect(provider.requests).toHaveLength(before)
      })
    })

    describe('anything else', () => {
      test('K5: without credentials gets a 401 whose link works', async () => {
        const { browser, url } = await start()
        for (const method of ['GET', 'POST']) {
          const page = await browser.xhr(method === 'GET' ? `${url}/profile` : `${url}/notes`, { method })
          expect(page.status).toBe(401)
          expect(page.headers.get('www-authenticate')).toBe('Bearer')
          expect(page.headers.get('cache-control')).toBe('no-store')
          expect(page.json()).toEqual({
            statusCode: 401,
            code: 'FST_OAUTH2_CREDENTIALS_REQUIRED',
            error: 'Unauthorized',
            message: expect.any(String),
            authorizeUrl: expect.stringMatching(/^\/oauth2authorize\?/),
          })
          expect(page.json().authorizeUrl).not.toContain('return_url')
        }
        const { authorizeUrl } = (await browser.xhr(`${url}/profile`)).json()
        const page = await browser.goto(
          `${url}${authorizeUrl}&${new URLSearchParams({ return_url: '/profile?a=b%20c' })}`,
        )
        expect([page.status, page.url]).toEqual([200, `${url}/profile?a=b%20c`])
        expect((await browser.xhr(`${url}/notes`, { method: 'POST' })).json()).toEqual({ saved: true })
      })

      test('with missing scopes gets a 403 that names them and a link that asks for them', async () => {
        const { browser, url } = await signedIn()
        const page = await browser.xhr(`${url}/files`)
        expect(page.status).toBe(403)
        expect(page.headers.get('www-authenticate')).toBe(
          'Bearer error="insufficient_scope", scope="openid email files.read"',
        )
        expect(page.json()).toEqual({
          statusCode: 403,
          code: 'FST_OAUTH2_INSUFFICIENT_SCOPE',
          error: 'Forbidden',
          message: expect.any(String),
          missingScopes: ['files.read'],
          authorizeUrl: expect.any(String),
        })
        const granted = await browser.goto(`${url}${page.json().authorizeUrl}&return_url=%2Ffiles`)
        expect(granted.json()).toEqual({ scopes: ['openid', 'email', 'files.read'] })
        expect((await browser.xhr(`${url}/files`)).status).toBe(200)
      })
    })

    describe('a person who says no', () => {
      test('K2: to one scope is told so, is not sent round, and can say yes later', async () => {
        const { browser, url, provider } = await signedIn()
        provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
        let page = await browser.goto(`${url}/files`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
        expect(page.body).toContain('files.read')
        const asked = provider.count('authorize')
        page = await browser.goto(`${url}/files`)
        expect(page.status).toBe(403)
        expect(provider.count('authorize')).toBe(asked)
        // No answer was lost on what was granted before.
        expect((await browser.goto(`${url}/profile`)).status).toBe(200)
        provider.grant = (scopes) => scopes
        page = await browser.goto(wayOn(page), { from: page })
        expect([page.status, page.url]).toEqual([200, `${url}/files`])
      })

      test('K2: to one scope, with Ask again and no again, ends at the same page', async () => {
        const { browser, url, provider } = await signedIn()
        provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
        let page = await browser.goto(`${url}/files`)
        page = await browser.goto(wayOn(page), { from: page })
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
        expect(provider.count('authorize')).toBe(3)
      })

      test('to a scope of the options at sign-in is told so', async () => {
        const { browser, url, provider } = await start()
        provider.grant = (scopes) => scopes.filter((scope) => scope !== 'email')
        let page = await browser.goto(`${url}/profile`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
        provider.grant = (scopes) => scopes
        page = await browser.goto(wayOn(page), { from: page })
        expect(page.json()).toMatchObject({ scopes: ['openid', 'email'] })
      })

      test('to everything is not asked again by itself for a minute, and can ask', async () => {
        const { browser, url, provider, clock } = await start()
        deny(provider)
        let page = await browser.goto(`${url}/profile`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
        clock.advance(59_000)
        page = await browser.goto(`${url}/profile`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
        expect(provider.count('authorize')).toBe(1)
        provider.authorizeAnswer = undefined
        const again = await browser.clone().goto(wayOn(page), { from: page })
        expect([again.status, again.url]).toEqual([200, `${url}/profile`])
        clock.advance(1_001)
        page = await browser.goto(`${url}/profile`)
        expect([page.status, page.chain[0]?.status]).toEqual([200, 302])
      })

      test('to everything keeps what was granted before', async () => {
        const { browser, url, provider } = await signedIn()
        deny(provider)
        const page = await browser.goto(`${url}/files`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
        expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
      })
    })

    test('another identity in a grant flow changes nothing, revokes nothing, and can be put right', async () => {
      const { browser, url, provider } = await signedIn()
      const before = (await browser.xhr(`${url}/profile`)).body
      provider.user = 'bob'
      let page = await browser.goto(`${url}/files`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
      expect(provider.count('revoke')).toBe(0)
      expect((await browser.xhr(`${url}/profile`)).body).toBe(before)
      expect((await browser.xhr(`${url}/files`)).json()).toMatchObject({ code: 'FST_OAUTH2_INSUFFICIENT_SCOPE' })
      const asked = provider.count('authorize')
      page = await browser.goto(`${url}/files`)
      expect(page.status).toBe(403)
      expect(provider.count('authorize')).toBe(asked)
      provider.user = 'alice'
      page = await browser.goto(wayOn(page), { from: page })
      expect([page.status, page.url]).toEqual([200, `${url}/files`])
      expect((await browser.xhr(`${url}/api`)).json()).toMatchObject({ sub: 'sub-alice' })
    })

    describe('while the provider is down', () => {
      test('expired credentials are kept, the answer is a 503, and they work again later', async () => {
        const { browser, url, provider, clock } = await signedIn()
        clock.advance(HOUR + 1)
        provider.tokenAnswer = () => ({ status: 503, body: 'down' })
        for (const page of [await browser.goto(`${url}/profile`), await browser.xhr(`${url}/profile`)]) {
          expect(page.status).toBe(503)
          expect(page.body).toContain('FST_OAUTH2_PROVIDER_UNAVAILABLE')
          expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
          expect(page.chain).toHaveLength(1)
        }
        provider.tokenAnswer = undefined
        if (kind === 'memory') {
          // The refresh token may have been used up: nobody sends it again before that is certain to be over.
          const sent = provider.count('token', 'refresh_token')
          expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
          expect(provider.count('token', 'refresh_token')).toBe(sent)
          clock.advance(30_001)
          skipMonotonic(2_001)
        }
        expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
        expect(provider.count('authorize')).toBe(1)
      })

      test('a connection that was refused is tried again at once', async () => {
        let down = false
        const refusing: OAuth2ClientOptions['fetch'] = async (input, init) => {
          if (!down) return fetch(input, init)
          throw new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) })
        }
        const { browser, url, clock } = await signedIn({ client: { fetch: refusing } })
        clock.advance(HOUR + 1)
        down = true
        const page = await browser.xhr(`${url}/profile`)
        expect([page.status, page.json().code]).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
        expect(page.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
        down = false
        expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
      })

      test('its own Retry-After is passed on', async () => {
        const { browser, url, provider, clock } = await signedIn()
        clock.advance(HOUR + 1)
        provider.tokenAnswer = () => ({ status: 429, headers: { 'retry-after': '77' }, body: {} })
        const page = await browser.xhr(`${url}/profile`)
        expect([page.status, page.headers.get('retry-after')]).toEqual([503, '77'])
        provider.tokenAnswer = undefined
        expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
      })

      test('an access token that still works is used, though it is due for refresh', async () => {
        const { browser, url, provider, clock } = await signedIn()
        clock.advance(HOUR - 5_000)
        provider.tokenAnswer = () => ({ status: 500, body: {} })
        expect((await browser.xhr(`${url}/api`)).json()).toMatchObject({ ok: true })
        expect((await browser.goto(`${url}/profile`)).status).toBe(200)
        expect(provider.count('token', 'refresh_token')).toBe(1)
      })

      test('nobody can sign in, and the page says so instead of failing', async () => {
        const { browser, url, provider } = await start()
        provider.discoveryAnswer = () => ({ status: 503, body: {} })
        const page = await browser.goto(`${url}/profile`)
        expect([page.status, page.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_PROVIDER_UNAVAILABLE')])
        provider.discoveryAnswer = undefined
        expect((await browser.goto(wayOn(page), { from: page })).status).toBe(200)
      })
    })

    // Over @fastify/secure-session, the session's own encryption is the only one.
    const sealed = kind === 'memory' || variant.kind === 'session'
    if (sealed)
      test('J9: a record under another key is a 503, and kept for whoever has the key', async () => {
        const shared = sharedSessions(variant)
        const storage = kind === 'session' ? 'session' : memoryStore()
        const { browser, url, provider } = await signedIn({ variant: shared, storage })
        const other = await start({
          variant: shared,
          storage,
          provider,
          client: { encryptionKeys: 'k'.repeat(32) },
        })
        for (const path of ['/profile', '/']) {
          const page = await browser.goto(other.url + path)
          expect([page.status, page.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_CREDENTIALS_UNREADABLE')])
        }
        expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
        expect(provider.count('token')).toBe(1)
      })

    test("N6: another client's record is a 503, and nothing is sent anywhere", async () => {
      const shared = sharedSessions(variant)
      const storage = kind === 'session' ? 'session' : memoryStore()
      const { browser, url, provider } = await signedIn({ variant: shared, storage })
      const other = await start({ variant: shared, storage, provider, client: { clientId: 'staging' } })
      const before = provider.requests.length
      const page = await browser.xhr(`${other.url}/profile`)
      expect([page.status, page.json().code]).toEqual([503, 'FST_OAUTH2_CLIENT_MISMATCH'])
      expect(provider.requests).toHaveLength(before)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    })

    describe('credentials that die in the hands of the handler', () => {
      const apps = {
        'no error handler of its own': () => {},
        'an error handler that passes the error on': (app: FastifyInstance) => {
          app.setErrorHandler((error, _request, reply) => {
            reply.send(error)
          })
        },
        'an async error handler that passes the error on': (app: FastifyInstance) => {
          app.setErrorHandler(async (error, _request, reply) => {
            reply.send(error)
          })
        },
        'an error handler that throws the error on': (app: FastifyInstance) => {
          app.setErrorHandler((error) => {
            throw error
          })
        },
      }
      // An async handler that sends without returning the reply is at odds with any asynchronous onSend hook of Fastify.
      const slow = variant.name.includes('slow')
      const paths = ['/api', '/token', '/by-hand', ...(slow ? [] : ['/by-hand-async'])]
      const uses = (app: FastifyInstance) => {
        app.get('/token', { preHandler: requireOAuth() }, async ({ oauth2 }) => {
          const { token } = await oauth2.getAccessToken()
          return oauth2.getAccessToken({ rejected: token })
        })
        app.get('/by-hand', { preHandler: requireOAuth() }, ({ oauth2 }, reply) => {
          oauth2.getAccessToken({ rejected: oauth2.credentials?.accessToken as string }).then(
            () => reply.send({}),
            (error) => reply.send(error),
          )
        })
        app.get('/by-hand-async', { preHandler: requireOAuth() }, async ({ oauth2 }, reply) => {
          const rejected = oauth2.credentials?.accessToken as string
          await oauth2.getAccessToken({ rejected }).then(
            () => reply.send({}),
            (error) => {
              reply.send(error)
            },
          )
        })
        app.get('/caught', { preHandler: requireOAuth() }, async ({ oauth2 }) => {
          const rejected = oauth2.credentials?.accessToken as string
          const error = await oauth2.getAccessToken({ rejected }).catch((error: unknown) => error)
          return { caught: (error as { code: string }).code }
        })
      }

      test.each(Object.entries(apps))('in an app with %s get the answers of the guard', async (_name, prepare) => {
        const { browser, url, provider } = await signedIn({
          routes: (app) => {
            prepare(app)
            uses(app)
          },
        })
        for (const path of paths) {
          provider.withdraw()
          const person = browser.clone()
          const page = await person.step(url + path)
          expect([path, page.status, page.body]).toEqual([path, 302, ''])
          expect(page.location).toMatch(`${provider.issuer}/authorize?`)
          expect(page.headers.get('cache-control')).toBe('no-store')
          const program = await browser.xhr(url + path)
          expect([path, program.status, program.json().code]).toEqual([path, 401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
          expect(program.headers.get('www-authenticate')).toBe('Bearer')
          const back = await browser.goto(url + path)
          expect([path, back.status, back.url]).toEqual([path, 200, url + path])
          // Seen to work, so that the next loss is not taken for a loop.
          await browser.goto(`${url}/profile`)
        }
      })

      test('in an app that renders errors itself get what the app renders', async () => {
        const { browser, url, provider } = await signedIn({
          routes: (app) => {
            uses(app)
            app.setErrorHandler((error, _request, reply) => {
              reply.code(418).send({ mine: (error as { code?: string }).code })
            })
          },
        })
        for (const path of paths) {
          await browser.goto(`${url}/profile`)
          await browser.goto(`${url}/profile`)
          provider.withdraw()
          const page = await browser.step(url + path)
          expect([page.status, page.json()]).toEqual([418, { mine: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }])
        }
      })

      test('leave the answer to a handler that deals with it', async () => {
        const { browser, url, provider } = await signedIn({ routes: uses })
        provider.withdraw()
        const page = await browser.step(`${url}/caught`)
        expect([page.status, page.json()]).toEqual([200, { caught: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }])
      })

      test('because the provider is down are a 503 with Retry-After', async () => {
        const { browser, url, provider } = await signedIn({ routes: uses })
        provider.tokenAnswer = () => ({ status: 503, headers: { 'retry-after': '9' }, body: {} })
        const page = await browser.step(`${url}/token`)
        expect([page.status, page.headers.get('retry-after')]).toEqual([503, '9'])
        expect(page.body).toContain('FST_OAUTH2_PROVIDER_UNAVAILABLE')
      })
    })
  })

  describe('with a credential store', () => {
    async function signedIn(store: CredentialStore, options: TestAppOptions = {}): Promise<TestApp> {
      const started = await startApp({ variant, storage: store, ...options })
      expect((await started.browser.goto(`${started.url}/profile`)).status).toBe(200)
      return started
    }

    test('J9: an access token that still works is used while the store is down', async () => {
      const store = breakableStore(memoryStore())
      const { browser, url } = await signedIn(store)
      store.failing = true
      expect((await browser.xhr(`${url}/api`)).json()).toMatchObject({ ok: true })
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      store.failing = false
      expect((await browser.xhr(`${url}/api`)).status).toBe(200)
    })

    test('an access token that is due is used while the store cannot be written', async () => {
      const store = breakableStore(memoryStore())
      const { browser, url, clock, provider } = await signedIn(store)
      clock.advance(HOUR - 5_000)
      store.failing = 'put'
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
      // What could not be claimed was not sent.
      expect(provider.count('token', 'refresh_token')).toBe(0)
    })

    test('J9: the answer is a 503 when the store is down and nothing that works is at hand', async () => {
      const store = breakableStore(memoryStore())
      const { browser, url, clock, provider } = await signedIn(store)
      clock.advance(HOUR + 1)
      store.failing = true
      for (const page of [await browser.goto(`${url}/profile`), await browser.xhr(`${url}/profile`)]) {
        expect([page.status, page.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_STORE_UNAVAILABLE')])
      }
      store.failing = false
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
      expect(provider.count('authorize')).toBe(1)
    })

    test('a process that has just started answers 503 while the store is down', async () => {
      const shared = sharedSessions(variant)
      const store = breakableStore(memoryStore())
      const { browser, provider } = await signedIn(store, { variant: shared })
      const other = await startApp({ variant: shared, storage: store, provider })
      store.failing = true
      const page = await browser.goto(`${other.url}/profile`)
      expect([page.status, page.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_STORE_UNAVAILABLE')])
    })

    test.each(['damaged', 'newer'])('J9: a %s record is a 503 and is never overwritten', async (what) => {
      const store = memoryStore()
      const key = 'the key of this test, long enough'
      const { browser, url, provider } = await signedIn(store, { client: { encryptionKeys: key } })
      let place = ''
      for await (const key of store.list('user/')) place = key
      const stored = (await store.get(place))?.value as string
      const header = { iss: provider.issuer, client_id: provider.clientId }
      const record =
        what === 'damaged'
          ? `${stored.slice(0, -4)}AAAA`
          : await new KeyRing([key]).seal(
              'credentials',
              [provider.issuer, provider.clientId, place],
              '{"v":2,"future":true}',
              header,
            )
      await store.put(place, record)
      const stays = async () => expect((await store.get(place))?.value).toBe(record)
      for (const page of [await browser.goto(`${url}/profile`), await browser.xhr(`${url}/profile`)]) {
        expect([page.status, page.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_CREDENTIALS_UNREADABLE')])
        await stays()
      }
      // Signing in anew, as somebody who lost the cookies would, must not replace it either.
      const page = await browser.clone().goto(`${url}/oauth2authorize`)
      expect(page.status).toBe(503)
      for (const { name } of browser.cookies()) browser.deleteCookie('localhost', name)
      expect((await browser.goto(`${url}/profile`)).body).toContain('FST_OAUTH2_CREDENTIALS_UNREADABLE')
      await stays()
      expect(provider.count('revoke')).toBe(0)
    })
  })
})
