// What apps on oauth2client's django_util relied on, case by case (DJ-1 to DJ-11, DJ-13). Left out: DJ-12, fields that hold
// pickled objects, which nothing should read. Inverted: DJ-6 (the authorize route always asks, that is what it is for) and
// the open redirects of DJ-5 and DJ-7.
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, { type CredentialStore, Credentials, oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { describeEachSession } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
const atCallback = (url: URL) => url.pathname === '/oauth2callback'
const scopeOf = (page: Page) => new URL(page.location as string).searchParams.get('scope')

const routes = (app: FastifyInstance) => {
  app.get('/aware', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
    has: oauth2.hasCredentials(),
    more: oauth2.hasCredentials('files.read'),
    credentials: oauth2.credentials,
    link: await oauth2.authorizeUrl('/aware', { scopes: 'files.read' }),
  }))
  app.post('/revoke', { onRequest: oauthAware() }, ({ oauth2 }) => oauth2.revoke())
}

/** The app's own users: the header says who is signed in. */
const users = {
  userKey: ({ headers }: { headers: Record<string, unknown> }) => headers['x-user'] as string | undefined,
}
const as = (user: string) => ({ headers: { 'x-user': user } })

describe('DJ-1 set-up', () => {
  const client = {
    provider: {
      issuer: 'https://issuer.example',
      authorization_endpoint: 'https://issuer.example/authorize',
      token_endpoint: 'https://issuer.example/token',
    },
    clientId: 'client',
    clientSecret: 'secret',
  }

  test('DJ-1 no session plugin: every use says what to register, nothing loops', async () => {
    const app = Fastify()
    onTestFinished(() => app.close())
    app.register(oauth2Client, client)
    app.get('/', { onRequest: requireOAuth() }, async () => 'ok')
    app.get('/aware', { onRequest: oauthAware() }, async () => 'ok')
    for (const url of ['/', '/aware', '/oauth2authorize', '/oauth2callback?state=x&code=y']) {
      const response = await app.inject({ url, headers: { host: 'localhost', accept: 'application/json' } })
      expect([response.statusCode, response.headers.location]).toEqual([500, undefined])
      expect(response.json()).toMatchObject({
        code: 'FST_OAUTH2_SESSION_REQUIRED',
        message: expect.stringContaining('@fastify/session'),
      })
    }
  })

  test('DJ-1 the decorators have the name that they are given', async () => {
    const { browser, url } = await startApp({
      client: { name: 'mail' },
      routes: (app) => {
        app.get('/mail', { onRequest: requireOAuth([], { client: 'mail' }) }, async (request) => ({
          user: (request as unknown as Record<string, { userId: string }>).mail?.userId,
        }))
      },
    }).catch(() => expect.fail('registration'))
    const page = await browser.goto(`${url}/mail`)
    expect(page.json()).toEqual({ user: 'sub-alice' })
    expect(page.chain[1]?.location).toContain('/oauth2callback/mail')
  })
})

test('DJ-2 a store in the place of the session; anything else is refused by name', async () => {
  const { get, put, delete: remove } = memoryStore()
  const own: CredentialStore = { shared: false, get, put, delete: remove }
  const { browser, url } = await startApp({ storage: own })
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(await get('user/oauth2/sub-alice')).toBeDefined()
  await expect(startApp({ storage: { get, put } as never })).rejects.toThrow('"storage"')
})

describeEachSession((variant) => {
  test('DJ-3 what is in the session can be removed, also when there is nothing', async () => {
    const { browser, url } = await startApp({ variant, routes })
    expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({
      local: false,
      remote: 'unsupported',
    })
    await browser.goto(`${url}/profile`)
    expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({ local: true, remote: 'revoked' })
    expect((await browser.xhr(`${url}/aware`)).json()).toMatchObject({ has: false, credentials: null })
    expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toMatchObject({ local: false })
  })
})

test('DJ-4 nobody is signed in to the app: there are no credentials, whoever used this browser before', async () => {
  const { browser, url } = await startApp({ storage: memoryStore(), routes, client: users })
  await browser.goto(`${url}/profile`, as('ann'))
  expect((await browser.xhr(`${url}/aware`, as('ann'))).json().has).toBe(true)
  for (const who of ['', 'bob']) {
    expect((await browser.xhr(`${url}/aware`, as(who))).json()).toMatchObject({ has: false, credentials: null })
  }
})

describe('DJ-5 the authorize route', () => {
  test('DJ-5 without anybody signed in, plain: to the provider, and back to /', async () => {
    const { browser, url, provider } = await startApp()
    expect((await browser.step(`${url}/oauth2authorize`)).location).toContain(`${provider.issuer}/authorize`)
    expect((await browser.goto(`${url}/oauth2authorize`)).url).toBe(`${url}/`)
  })

  test('DJ-5 with a place to go back to, query and fragment and all', async () => {
    const { browser, url } = await startApp()
    const target = '/aware?a=1&b=%2F#part'
    const page = await browser.step(
      (await browser.goto(`${url}/oauth2authorize?return_url=${encodeURIComponent(target)}`, { stopAt: atCallback }))
        .location as string,
    )
    expect([page.status, page.location]).toEqual([303, url + target])
  })

  test('DJ-5 scopes of the query come on top of the configured ones, and only declared ones', async () => {
    const { browser, url } = await startApp({ client: { optionalScopes: ['files.read', 'more'] } })
    expect(scopeOf(await browser.step(`${url}/oauth2authorize?scope=files.read&scope=more`))).toBe(
      'openid email files.read more',
    )
    expect(scopeOf(await browser.step(`${url}/oauth2authorize?scope=files.read+more`))).toBe(
      'openid email files.read more',
    )
    expect(codeOf(await browser.step(`${url}/oauth2authorize?scope=everything`))).toEqual([
      400,
      'FST_OAUTH2_SCOPE_NOT_DECLARED',
    ])
  })
})

describe('DJ-6 the authorize route of an app with its own users', () => {
  const start = () => startApp({ storage: memoryStore(), routes, client: { ...users, loginPath: '/login' } })

  test('DJ-6 a user without credentials goes to the provider, nobody to the login', async () => {
    const { browser, url, provider } = await start()
    expect((await browser.step(`${url}/oauth2authorize`, as('ann'))).location).toContain(provider.issuer)
    const login = async (target: string) => {
      const page = await browser.step(`${url}/oauth2authorize?return_url=${encodeURIComponent(target)}`)
      return page.location
    }
    expect(await login('/aware?x=1')).toBe(`${url}/login?return_url=%2Faware%3Fx%3D1`)
    expect(await login('https://evil.example/')).toBe(`${url}/login?return_url=%2F`)
    expect(await login('/oauth2authorize?return_url=/oauth2authorize')).toBe(`${url}/login?return_url=%2F`)
  })

  test('DJ-6 inverted: a user with credentials is asked, for this is the way to ask', async () => {
    const { browser, url, provider } = await start()
    await browser.goto(`${url}/profile`, as('ann'))
    expect((await browser.step(`${url}/oauth2authorize?return_url=/aware`, as('ann'))).location).toContain(
      provider.issuer,
    )
  })
})

test('DJ-7 the callback stores and goes back; where to was decided at the start', async () => {
  const { browser, url, provider } = await startApp()
  const pending = await browser.goto(`${url}/profile?x=1`, { stopAt: atCallback })
  const callback = new URL(pending.location as string)
  callback.searchParams.set('return_url', 'https://evil.example/')
  const page = await browser.step(callback)
  expect([page.status, page.location]).toEqual([303, `${url}/profile?x=1`])
  expect(page.headers.get('cache-control')).toBe('no-store')
  expect(provider.count('token')).toBe(1)
})

describe('DJ-8 the callback refuses', () => {
  const STATE = [400, 'FST_OAUTH2_STATE_INVALID']
  const html = '<script>alert(1)</script>'

  test.each<[string, (callback: URL, browser: Browser) => Browser | undefined, (string | number)[]]>([
    ['no session', () => new Browser(), STATE],
    ['no state', (callback) => void callback.searchParams.delete('state'), STATE],
    ['no code', (callback) => void callback.searchParams.delete('code'), STATE],
    ['a state that is not ours', (callback) => void callback.searchParams.set('state', '{"csrf_token":1}'), STATE],
    ['a code twice', (callback) => void callback.searchParams.append('code', 'x'), STATE],
    [
      'a session that lost its flow',
      (_, browser) => {
        for (const { name } of browser.cookies()) if (name.includes('.flow.')) browser.deleteCookie('localhost', name)
        return undefined
      },
      STATE,
    ],
    ['a flow that lost its session', (_, browser) => void browser.deleteCookie('localhost', 'sessionId'), STATE],
    [
      'a code that is not the provider’s',
      (callback) => void callback.searchParams.set('code', 'x'),
      [502, 'FST_OAUTH2_EXCHANGE_FAILED'],
    ],
    [
      'an error',
      (callback) => {
        callback.searchParams.delete('code')
        callback.searchParams.set('error', html)
        return undefined
      },
      [400, 'FST_OAUTH2_AUTHORIZATION_FAILED'],
    ],
  ])('DJ-8 %s', async (_name, change, expected) => {
    const storage = memoryStore()
    const { browser, url } = await startApp({ storage })
    const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
    const callback = new URL(pending.location as string)
    const who = change(callback, browser) ?? browser
    const page = await who.step(callback)
    expect(codeOf(page)).toEqual(expected)
    expect(page.body).not.toContain('alert')
    expect(await storage.get('user/oauth2/sub-alice')).toBeUndefined()
  })

  test('DJ-8 a flow that was used is not used again: opened once more, it only leads back', async () => {
    const { browser, url, provider } = await startApp()
    const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
    for (let i = 0; i < 3; i += 1) {
      const page = await browser.step(pending.location as string)
      expect([page.status, page.location]).toEqual([303, `${url}/profile`])
    }
    expect(provider.count('token')).toBe(1)
  })

  test('DJ-8 a flow that took too long', async () => {
    const { browser, url, clock } = await startApp()
    const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
    clock.advance(600_000)
    expect(codeOf(await browser.step(pending.location as string))).toEqual(STATE)
  })
})

test('DJ-9 enabled: the page is shown to everybody, and knows what is there and how to ask for more', async () => {
  const { browser, url, clock, provider } = await startApp({ routes })
  const before = (await browser.goto(`${url}/aware`)).json()
  expect(before).toMatchObject({ has: false, more: false, credentials: null })
  await browser.goto(`${url}/profile`)
  expect((await browser.goto(`${url}/aware`)).json()).toMatchObject({
    has: true,
    more: false,
    credentials: { redacted: true },
  })
  expect((await browser.goto(url + before.link)).json()).toMatchObject({ has: true, more: true })
  // It refreshes nothing by itself.
  clock.advance(HOUR)
  expect((await browser.goto(`${url}/aware`)).json()).toMatchObject({ has: true })
  expect(provider.count('token', 'refresh_token')).toBe(0)
})

test('DJ-10 required: asks and comes back, passes, asks for what is missing', async () => {
  const { browser, url } = await startApp()
  const asked = await browser.step(`${url}/profile?x=1`)
  expect([asked.status, scopeOf(asked)]).toEqual([302, 'openid email'])
  expect((await browser.goto(`${url}/profile?x=1`)).url).toBe(`${url}/profile?x=1`)
  expect((await browser.step(`${url}/profile`)).status).toBe(200)
  const more = await browser.step(`${url}/files`)
  expect([more.status, scopeOf(more)]).toEqual([302, 'openid email files.read'])
  const script = await browser.xhr(`${url}/files`)
  expect(script.json()).toMatchObject({
    statusCode: 403,
    code: 'FST_OAUTH2_INSUFFICIENT_SCOPE',
    missingScopes: ['files.read'],
  })
})

test('DJ-11 required, with users of the app: nobody to the login, a user without credentials to the provider', async () => {
  const { browser, url, provider } = await startApp({
    storage: memoryStore(),
    client: { ...users, loginPath: '/login' },
  })
  expect((await browser.step(`${url}/profile?x=1`)).location).toBe(`${url}/login?return_url=%2Fprofile%3Fx%3D1`)
  expect((await browser.step(`${url}/profile`, as('ann'))).location).toContain(provider.issuer)
  expect((await browser.goto(`${url}/profile`, as('ann'))).status).toBe(200)
  expect((await browser.goto(`${url}/profile`, as('bob'))).chain[0]?.status).toBe(302)
})

describe('DJ-13 the store of an app with its own users', () => {
  test('DJ-13 nothing, put, get, delete, each user apart, also outside a request', async () => {
    const storage = memoryStore()
    const { app } = await startApp({ storage, client: users })
    const ann = await app.oauth2.user('ann')
    expect([ann.credentials, ann.hasCredentials()]).toEqual([null, false])
    const expiresAt = Date.now() + HOUR
    await ann.adopt(
      new Credentials({ accessToken: 'at-1', refreshToken: 'rt-1', expiresAt, scopes: ['a'], userId: 'sub-1' }),
    )
    const again = await app.oauth2.user('ann')
    expect(again.hasCredentials('a')).toBe(true)
    expect(await again.getAccessToken()).toMatchObject({ token: 'at-1', scopes: ['a'], expiresAt })
    expect((await app.oauth2.user('bob')).credentials).toBeNull()
    await again.adopt(new Credentials({ accessToken: 'at-2', expiresAt, scopes: ['a', 'b'], userId: 'sub-1' }))
    const replaced = await app.oauth2.user('ann')
    expect(replaced.accounts()).toMatchObject([{ id: 'sub-1', scopes: ['a', 'b'], refreshable: true }])
    expect(await replaced.revoke()).toMatchObject({ local: true })
    expect((await app.oauth2.user('ann')).credentials).toBeNull()
    expect(await storage.get('user/oauth2/ann')).toBeUndefined()
  })

  test('DJ-13 keys of users cannot meet, whatever they contain', async () => {
    const { app } = await startApp({ storage: memoryStore(), client: users })
    const keys = ['a', 'A', 'a/b', 'a%2Fb', '../a', 'a b', 'ä', 'a\u0308', '__proto__', ' ', '\0']
    for (const [index, key] of keys.entries()) {
      await (await app.oauth2.user(key)).adopt(Credentials.fromAccessToken(`at-${index}`))
    }
    for (const [index, key] of keys.entries()) {
      expect((await app.oauth2.user(key)).credentials?.accessToken).toBe(`at-${index}`)
    }
    await expect(app.oauth2.user('\ud800')).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
    await expect(app.oauth2.user('')).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  })

  test('DJ-13 in the session there is nothing outside a request, and it says so', async () => {
    const { app } = await startApp()
    await expect(app.oauth2.user('ann')).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_REQUIRED' })
  })
})
