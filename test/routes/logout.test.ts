import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import oauth2Client, { oauthAware } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'
import { answer } from './flow.js'

const XSRF_INVALID = [403, 'FST_OAUTH2_XSRF_INVALID']
const usual = sessionVariants[0] as SessionVariant

const form: NonNullable<TestAppOptions['routes']> = (app) => {
  app.get<{ Querystring: { to?: string } }>('/form', { onRequest: oauthAware() }, async ({ oauth2, query }, reply) =>
    reply
      .type('text/html')
      .send(
        `<form method="post" action="/oauth2logout"><input name="_csrf" value="${oauth2.xsrfToken}">` +
          `<input name="return_url" value="${encodeURI(query.to ?? '/')}"><button>Sign out</button></form>`,
      ),
  )
  app.get('/token', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ token: oauth2.xsrfToken }))
}

async function signedIn(options: TestAppOptions = {}): Promise<TestApp & { token: string }> {
  const app = await startApp({
    ...options,
    routes(server, provider) {
      form(server, provider)
      options.routes?.(server, provider)
    },
  })
  await app.browser.goto(`${app.url}/profile`)
  return { ...app, token: (await app.browser.xhr(`${app.url}/token`)).json().token }
}

function post(
  { url, browser }: Pick<TestApp, 'url' | 'browser'>,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Page> {
  return browser.xhr(`${url}/oauth2logout`, { method: 'POST', body: new URLSearchParams(fields), headers })
}

const user = async ({ url, browser }: Pick<TestApp, 'url' | 'browser'>) => (await browser.goto(`${url}/`)).json().user

describeEachSession((variant) => {
  test('A17: a sign-out without a token of this session is refused and changes nothing', async () => {
    const app = await signedIn({
      variant,
      routes: (server, provider) => {
        server.register(oauth2Client, {
          name: 'other',
          provider: { issuer: provider.issuer },
          clientId: provider.clientId,
          clientSecret: provider.clientSecret as string,
        })
        server.get('/token/other', async (request) => {
          const { other } = request as unknown as { other: { load(): Promise<{ xsrfToken: string }> } }
          return { token: (await other.load()).xsrfToken }
        })
      },
    })
    const stranger = new Browser()
    const foreign = (await stranger.xhr(`${app.url}/token`)).json().token
    const other = (await app.browser.xhr(`${app.url}/token/other`)).json().token
    const { token } = app
    for (const bad of ['', 'x', foreign, other, token.slice(0, -1), `${token}A`, token.replace('.', '..')]) {
      expect(answer(await post(app, { _csrf: bad }))).toEqual(XSRF_INVALID)
      expect(answer(await post(app, {}, { 'x-csrf-token': bad }))).toEqual(XSRF_INVALID)
    }
    expect(answer(await post(app, {}))).toEqual(XSRF_INVALID)
    // Where it may be is fixed: a query is seen by others.
    const query = new URLSearchParams({ _csrf: token })
    expect(answer(await app.browser.xhr(`${app.url}/oauth2logout?${query}`, { method: 'POST' }))).toEqual(XSRF_INVALID)
    // Nor is it worth anything without its session.
    expect(answer(await post({ ...app, browser: stranger }, { _csrf: token }))).toEqual(XSRF_INVALID)
    expect(answer(await post({ ...app, browser: new Browser() }, { _csrf: token }))).toEqual(XSRF_INVALID)
    expect(await user(app)).toBe('sub-alice')
  })

  test('A17: a token is good for a day', async () => {
    const app = await signedIn({ variant, client: { refreshBeforeExpiry: 0 } })
    app.clock.advance(86_400_001)
    expect(answer(await post(app, { _csrf: app.token }))).toEqual(XSRF_INVALID)
    app.clock.advance(-1_000)
    expect((await post(app, { _csrf: app.token })).status).toBe(204)
  })

  test('A17: a form of another site does not sign anybody out', async () => {
    // A session plugin that gives everybody a session would replace this one by an empty one, with any request.
    const saving: SessionVariant = {
      ...variant,
      register: (app) => variant.register(app, { saveUninitialized: false }),
    }
    const app = await signedIn({ variant: saving })
    const page = await app.browser.xhr(`${app.url}/oauth2logout`, {
      method: 'POST',
      body: new URLSearchParams({ _csrf: app.token }),
      from: 'https://evil.example/',
    })
    expect(answer(page)).toEqual(XSRF_INVALID)
    expect(await user(app)).toBe('sub-alice')
  })

  for (const storage of ['session', 'memory'] as const) {
    test(`J11: signing out ends this browser’s link and nothing else (${storage})`, async () => {
      const app = await signedIn({ variant, storage: storage === 'session' ? 'session' : memoryStore() })
      const { browser, url, provider } = app
      const elsewhere = new Browser()
      await elsewhere.goto(`${url}/profile`)
      const thief = browser.clone()
      expect((await post(app, { _csrf: app.token })).status).toBe(204)
      expect(await user(app)).toBeNull()
      expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
      expect((await elsewhere.xhr(`${url}/profile`)).status).toBe(200)
      expect(provider.count('revoke')).toBe(0)
      if (storage === 'memory') expect((await app.app.oauth2.user('sub-alice')).hasCredentials()).toBe(true)
      // A copy of the cookies from before.
      expect((await thief.xhr(`${url}/profile`)).status).toBe(401)
      // And back again.
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      expect((await browser.goto(`${url}/profile`)).chain).toHaveLength(1)
    })
  }

  test('what the app kept in the session goes with its person, unless somebody else is still signed in', async () => {
    const app = await signedIn({
      variant,
      routes(server, provider) {
        server.register(oauth2Client, {
          name: 'other',
          provider: { issuer: provider.issuer },
          clientId: provider.clientId,
          clientSecret: provider.clientSecret as string,
        })
        server.get<{ Querystring: { put?: string } }>('/cart', async (request) => {
          const session = request.session as unknown as { get(k: string): unknown; set(k: string, v: unknown): void }
          if (request.query.put) session.set('cart', request.query.put)
          return { cart: session.get('cart') ?? null }
        })
      },
    })
    const { browser, url } = app
    const cart = async (query = '') => (await browser.goto(`${url}/cart${query}`)).json().cart
    await browser.goto(`${url}/oauth2authorize/other`)
    await cart('?put=book')
    expect((await post(app, { _csrf: app.token })).status).toBe(204)
    expect([await user(app), await cart()]).toEqual([null, 'book'])
    await browser.goto(`${url}/profile`)
    const { token } = (await browser.xhr(`${url}/token`)).json()
    expect(await cart()).toBe('book')
    expect((await browser.xhr(`${url}/oauth2logout`, { method: 'POST', body: { _csrf: token } })).status).toBe(204)
    expect(await cart()).toBe('book')
  })

  test('the last one to sign out leaves an empty session', async () => {
    const app = await signedIn({
      variant,
      routes: (server) =>
        server.get<{ Querystring: { put?: string } }>('/cart', async (request) => {
          const session = request.session as unknown as { get(k: string): unknown; set(k: string, v: unknown): void }
          if (request.query.put) session.set('cart', request.query.put)
          return { cart: session.get('cart') ?? null }
        }),
    })
    await app.browser.goto(`${app.url}/cart?put=book`)
    await post(app, { _csrf: app.token })
    expect((await app.browser.goto(`${app.url}/cart`)).json().cart).toBeNull()
    expect(answer(await post(app, { _csrf: app.token }))).toEqual(XSRF_INVALID)
  })
})

describe('the answer', () => {
  test('C10: browsers go on with a 303 to a path of ours; programs get a 204', async () => {
    for (const [to, expected] of [
      ['/bye?x=1', '/bye?x=1'],
      ['https://evil.example/', '/'],
      ['//evil.example/', '/'],
      ['/oauth2logout', '/'],
    ] as const) {
      const app = await signedIn()
      const page = await app.browser.submit(
        await app.browser.goto(`${app.url}/form?to=${encodeURIComponent(to)}`),
        0,
        {},
        {
          stopAt: () => true,
        },
      )
      expect([page.status, page.headers.get('location')]).toEqual([303, expected])
      expect(page.headers.get('cache-control')).toBe('no-store')
    }
    const app = await signedIn()
    const page = await post(app, { return_url: '/bye' }, { 'x-csrf-token': app.token })
    expect([page.status, page.body, page.location]).toEqual([204, '', null])
  })

  test.each(['GET', 'HEAD', 'PUT', 'DELETE'])('A17: %s is not there', async (method) => {
    const app = await signedIn()
    const query = new URLSearchParams({ _csrf: app.token })
    const page = await app.browser.step(`${app.url}/oauth2logout?${query}`, {
      method,
      headers: { 'x-csrf-token': app.token },
    })
    expect([404, 405]).toContain(page.status)
    expect(await user(app)).toBe('sub-alice')
  })

  test('with userKey the app signs people out itself, unless it wants our route', async () => {
    const client = { userKey: () => 'u1' }
    const app = await startApp({ client, storage: memoryStore() })
    expect((await post(app, {})).status).toBe(404)
    const wanted = await startApp({ client: { ...client, logout: true }, storage: memoryStore(), routes: form })
    await wanted.browser.goto(`${wanted.url}/profile`)
    const { token } = (await wanted.browser.xhr(`${wanted.url}/token`)).json()
    expect((await post(wanted, { _csrf: token })).status).toBe(204)
    expect((await wanted.app.oauth2.user('u1')).hasCredentials()).toBe(true)
    const off = await startApp({ client: { logout: false } })
    expect((await post(off, {})).status).toBe(404)
  })
})

describe('the app’s body parsers', () => {
  const echo = (app: FastifyInstance) => app.post('/echo', async ({ body }) => ({ body }))
  const send = ({ url, browser }: TestApp) =>
    browser.xhr(`${url}/echo`, { method: 'POST', body: new URLSearchParams({ a: '1' }) })

  test('an app without a parser for forms is left without one', async () => {
    const app = await signedIn({ routes: echo })
    expect((await send(app)).status).toBe(415)
    expect((await post(app, { _csrf: app.token })).status).toBe(204)
  })

  test('an app’s own parser is the one that is used, by its routes and by ours', async () => {
    let parsed = 0
    const app = await startApp({
      variant: {
        name: 'with a parser',
        kind: 'session',
        cookieName: 'sessionId',
        hasStore: true,
        register(server) {
          server.addContentTypeParser(
            'application/x-www-form-urlencoded',
            { parseAs: 'string' },
            (_request: unknown, body: string | Buffer, done: (error: null, body: unknown) => void) => {
              parsed += 1
              done(null, { ...Object.fromEntries(new URLSearchParams(String(body))), mine: true })
            },
          )
          usual.register(server)
        },
      },
      routes(server, provider) {
        form(server, provider)
        echo(server)
      },
    })
    expect((await send(app)).json()).toEqual({ body: { a: '1', mine: true } })
    await app.browser.goto(`${app.url}/profile`)
    const { token } = (await app.browser.xhr(`${app.url}/token`)).json()
    expect((await post(app, { _csrf: token })).status).toBe(204)
    expect(parsed).toBe(2)
  })

  test('odd bodies are refused, not crashed on', async () => {
    const app = await signedIn()
    const bodies: [string, string][] = [
      ['application/json', 'null'],
      ['application/json', '[]'],
      ['application/json', '{"_csrf":{"x":1}}'],
      ['application/json', '{"_csrf":["x"]}'],
      ['text/plain', `_csrf=${app.token}`],
      ['application/x-www-form-urlencoded', '_csrf=%zz&_csrf[]=x&__proto__=x'],
    ]
    for (const [type, body] of bodies) {
      const headers = { 'content-type': type }
      const page = await app.browser.xhr(`${app.url}/oauth2logout`, { method: 'POST', body, headers })
      expect(answer(page), body).toEqual(XSRF_INVALID)
    }
    expect((await post(app, { _csrf: 'x'.repeat(20_000) })).status).toBe(413)
    expect(await user(app)).toBe('sub-alice')
  })
})
