import type { FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import oauth2Client, { Credentials, type OAuth2ClientOptions, oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import type { Browser } from '../helpers/browser.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { optionsFor, scriptedProvider, serve } from './serve.js'

const HOUR = 3_600_000
const byHeader = (request: FastifyRequest) => request.headers['x-user'] as string | undefined
/** What the app's own sign-in would put into its session. */
const as = (user: string) => ({ headers: { 'x-user': user } })

function start(client: Partial<OAuth2ClientOptions> = {}, options: TestAppOptions = {}): Promise<TestApp> {
  return startApp({ storage: memoryStore(), ...options, client: { userKey: byHeader, ...client } })
}

describe('nobody signed in to the app', () => {
  test.each<[string, NonNullable<OAuth2ClientOptions['userKey']>]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['an empty string', () => ''],
    ['undefined, later', async () => undefined],
  ])('N1: userKey that is %s is a 401 that no provider can cure', async (_name, userKey) => {
    const { browser, url, provider } = await start({ userKey })
    for (const path of ['/profile', '/files', '/oauth2authorize']) {
      const page = await browser.goto(url + path)
      expect([path, page.status]).toEqual([path, 401])
      expect(page.body).toContain('FST_OAUTH2_USER_REQUIRED')
    }
    const page = await browser.xhr(`${url}/profile`)
    expect([page.status, page.json().code]).toEqual([401, 'FST_OAUTH2_USER_REQUIRED'])
    expect((await browser.xhr(`${url}/`)).json()).toEqual({ user: null, has: false })
    expect(provider.count('authorize')).toBe(0)
  })

  test('with loginPath, people are sent there and told where they were going', async () => {
    const { browser, url, provider } = await start({ loginPath: '/login?from=oauth' })
    const page = await browser.step(`${url}/files?a=b%20c`)
    expect(page.status).toBe(302)
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(page.headers.get('location')).toBe('/login?from=oauth&return_url=%2Ffiles%3Fa%3Db%2520c')
    expect((await browser.xhr(`${url}/files`)).status).toBe(401)
    expect((await browser.step(`${url}/notes`, { method: 'POST' })).status).toBe(401)
    const link = await browser.step(`${url}/oauth2authorize?return_url=/files`)
    expect([link.status, link.headers.get('location')]).toEqual([302, '/login?from=oauth&return_url=%2Ffiles'])
    // Whoever is signed in to the app has no use for that page.
    expect((await browser.step(`${url}/files`, as('u1'))).location).toMatch(`${provider.issuer}/authorize?`)
    const head = await browser.step(`${url}/files`, { method: 'HEAD' })
    expect([head.status, head.headers.get('location')]).toEqual([302, '/login?from=oauth&return_url=%2Ffiles'])
    expect(head.headers.get('vary')).toContain('Sec-Fetch-Dest')
    const plain = await start({ loginPath: '/login' })
    const sent = await plain.browser.step(`${plain.url}/oauth2authorize?return_url=/files`)
    expect(sent.headers.get('location')).toBe('/login?return_url=%2Ffiles')
  })

  test.each<[string, () => unknown]>([
    ['a number', () => 7],
    ['an object', () => ({ id: 7 })],
    ['half a character', () => 'a\ud800'],
  ])('N1: userKey that is %s is a mistake of the app, and says so', async (_name, userKey) => {
    const { browser, url, provider } = await start({ userKey: userKey as never })
    const page = await browser.xhr(`${url}/profile`)
    expect([page.status, page.json().code]).toEqual([500, 'FST_OAUTH2_OPTION_INVALID'])
    expect(page.json().message).toContain('userKey')
    expect(provider.requests).toEqual([])
  })

  test('userKey that throws reaches the error handler of the app, and the handler does not run', async () => {
    const { browser, url, logs } = await start(
      {
        userKey: async () => {
          throw Object.assign(new Error('the users are away'), { statusCode: 502 })
        },
      },
      {
        routes: (app) => {
          app.setErrorHandler((error: Error, _request, reply) => reply.code(502).send({ handled: error.message }))
        },
      },
    )
    for (const path of ['/profile', '/']) {
      const page = await browser.xhr(url + path)
      expect([path, page.status, page.json()]).toEqual([path, 502, { handled: 'the users are away' }])
    }
    expect(logs.text()).not.toContain('already sent')
  })
})

describeEachSession((variant) => {
  test('what one user connected, no other user of the same browser has', async () => {
    const { browser, url, provider } = await start({}, { variant })
    expect((await browser.goto(`${url}/profile`, as('u1'))).json()).toMatchObject({ user: 'sub-alice' })
    expect((await browser.xhr(`${url}/`, as('u2'))).json()).toEqual({ user: null, has: false })
    expect((await browser.step(`${url}/profile`, as('u2'))).status).toBe(302)
    provider.user = 'bob'
    expect((await browser.goto(`${url}/profile`, as('u2'))).json()).toMatchObject({ user: 'sub-bob' })
    expect((await browser.xhr(`${url}/profile`, as('u1'))).json()).toMatchObject({ user: 'sub-alice' })
    // Another browser of the same user has them without being asked anything.
    expect((await browser.clone().xhr(`${url}/profile`, as('u1'))).status).toBe(200)
    expect(provider.count('authorize')).toBe(2)
  })

  test('in the session too', async () => {
    const { browser, url } = await start({}, { variant, storage: 'session' })
    await browser.goto(`${url}/profile`, as('u1'))
    expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(200)
    expect((await browser.xhr(`${url}/`, as('u2'))).json()).toEqual({ user: null, has: false })
    expect((await browser.xhr(`${url}/profile`, as('u2'))).status).toBe(401)
  })

  test('N9: somebody else at the callback than at the start gets nothing', async () => {
    const { app, browser, url, provider } = await start({}, { variant })
    const back = await browser.goto(`${url}/profile`, {
      ...as('u1'),
      stopAt: (next) => next.pathname === '/oauth2callback',
    })
    for (const user of ['u2', '']) {
      const page = await browser.clone().goto(back.location as string, as(user))
      expect([user, page.status]).toEqual([user, 403])
      expect(page.body).toContain('FST_OAUTH2_ACCOUNT_MISMATCH')
    }
    for (const user of ['u1', 'u2']) expect((await app.oauth2.user(user)).credentials).toBeNull()
    expect(provider.count('revoke')).toBe(0)
  })
})

describe('a job', () => {
  const pages: NonNullable<TestAppOptions['routes']> = (app) => {
    app.post('/bye', { onRequest: oauthAware() }, async ({ oauth2 }) => {
      await oauth2.signOut()
      return { left: oauth2.hasCredentials() }
    })
  }

  async function connected(options: TestAppOptions = {}): Promise<TestApp & { browser: Browser }> {
    const started = await startApp({ storage: memoryStore(), routes: pages, ...options })
    await started.browser.goto(`${started.url}/profile`)
    return started
  }

  test('uses what is stored, and refreshes it when it has expired', async () => {
    const { app, provider, clock } = await connected()
    const user = await app.oauth2.user('sub-alice')
    expect(user.userId).toBe('sub-alice')
    expect(user.email).toBe('alice@example.com')
    expect(user.scopes).toEqual(['openid', 'email'])
    expect(user.hasCredentials('email')).toBe(true)
    const first = await user.getAccessToken()
    expect(first).toEqual({
      token: expect.any(String),
      expiresAt: expect.any(Number),
      scopes: ['openid', 'email'],
      tokenType: 'Bearer',
    })
    clock.advance(HOUR + 1)
    const second = await user.getAccessToken()
    expect(second.token).not.toBe(first.token)
    expect(second.expiresAt).toBeGreaterThan(clock.now())
    expect(provider.count('token', 'refresh_token')).toBe(1)
    const response = await user.fetch(`${provider.issuer}/api/things`)
    expect([response.status, await response.json()]).toMatchObject([200, { sub: 'sub-alice' }])
    // Stored, for everybody else.
    expect(await (await app.oauth2.user('sub-alice')).getAccessToken()).toEqual(second)
  })

  test('goes on after the person signed out', async () => {
    const { app, browser, url, provider, clock } = await connected()
    expect((await browser.xhr(`${url}/bye`, { method: 'POST' })).json()).toEqual({ left: false })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    clock.advance(HOUR + 1)
    const user = await app.oauth2.user('sub-alice')
    expect((await user.fetch(`${provider.issuer}/api/things`)).status).toBe(200)
    expect(provider.count('revoke')).toBe(0)
  })

  test('revokes: gone here and there, for requests too', async () => {
    const { app, browser, url, provider } = await connected()
    const user = await app.oauth2.user('sub-alice')
    const { token } = await user.getAccessToken()
    expect(await user.revoke()).toEqual({ local: true, remote: 'revoked' })
    expect(provider.isValidAccessToken(token)).toBe(false)
    expect(user.credentials).toBeNull()
    await expect(user.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    expect(await (await app.oauth2.user('sub-alice')).revoke()).toMatchObject({ local: false })
    expect(provider.count('revoke')).toBe(1)
  })

  test('adopts what was obtained elsewhere', async () => {
    const { app, provider } = await connected()
    const user = await app.oauth2.user('someone else')
    expect(user.credentials).toBeNull()
    await user.adopt(Credentials.fromAccessToken('from-elsewhere', { scopes: ['openid', 'email'], email: 'c@d.e' }))
    expect(user.email).toBe('c@d.e')
    const again = await app.oauth2.user('someone else')
    expect(again.credentials?.accessToken).toBe('from-elsewhere')
    const foreign = Credentials.fromAccessToken('x', { issuer: 'https://other.example' })
    await expect(user.adopt(foreign)).rejects.toMatchObject({ code: 'FST_OAUTH2_CLIENT_MISMATCH' })
    expect((await app.oauth2.user('someone else')).credentials?.accessToken).toBe('from-elsewhere')
    expect(provider.count('token')).toBe(1)
  })

  test('cannot use what is kept in sessions', async () => {
    const { app } = await connected({ storage: 'session' })
    await expect(app.oauth2.user('sub-alice')).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_REQUIRED' })
  })

  test('needs to say whose', async () => {
    const { app } = await connected()
    for (const key of ['', undefined, 7]) {
      await expect(app.oauth2.user(key as string)).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
    }
  })
})

test('N1: keys that look alike are different users, across clients of one store', async () => {
  const provider = await scriptedProvider()
  const store = memoryStore()
  const names = ['a', 'a_b', 'oauth2'] as const
  const { app } = await serve((app) => {
    for (const name of names) app.register(oauth2Client, optionsFor(provider, { name, storage: store }))
  })
  const keys = [
    'a:b',
    'a',
    'b:c',
    'c',
    'b/c',
    'a/b',
    'a%2Fb',
    'a%252Fb',
    'A',
    'a ',
    ' a',
    '.',
    '..',
    '../a',
    'a\0',
    'ä',
    'a\u0308',
  ]
  keys.push('__proto__', '_bc', 'user/a', '🦊', 'a_b/c', 'x'.repeat(2_000))
  const users = names.flatMap((name) => keys.map((key) => [name, key] as const))
  const at = ([name, key]: readonly [string, string]) =>
    (app as unknown as Record<string, typeof app.oauth2>)[name]?.user(key)
  for (const [index, user] of users.entries()) {
    const place = await at(user)
    expect([user, place?.credentials]).toEqual([user, null])
    await place?.adopt(Credentials.fromAccessToken(`token-${index}`))
  }
  for (const [index, user] of users.entries()) {
    expect([user, (await at(user))?.credentials?.accessToken]).toEqual([user, `token-${index}`])
  }
})

describe('resolveUser', () => {
  test('creates the user of a first sign-in, and says who it is from then on', async () => {
    const users = new Map<string, string>()
    const { app, browser, url } = await startApp({
      storage: memoryStore(),
      client: {
        resolveUser: async (_request, { claims, credentials }) => {
          expect(credentials.refreshToken).toBeUndefined()
          expect(credentials.accessToken).toMatch(/^at-/)
          const sub = String(claims?.sub)
          if (!users.has(sub)) users.set(sub, `user-${users.size + 1}`)
          return users.get(sub) as string
        },
      },
    })
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    expect([...users]).toEqual([['sub-alice', 'user-1']])
    expect((await app.oauth2.user('user-1')).userId).toBe('sub-alice')
    expect((await app.oauth2.user('sub-alice')).credentials).toBeNull()
    expect((await browser.goto(`${url}/files`)).status).toBe(200)
    expect(users.size).toBe(1)
  })

  test('with userKey, lets people in whom the app does not know yet', async () => {
    const { app, browser, url } = await startApp({
      storage: memoryStore(),
      client: {
        userKey: (request) => (request as unknown as { session: Map<string, string> }).session.get('uid'),
        resolveUser: (request, { claims }) => {
          const uid = `uid of ${claims?.sub}`
          ;(request as unknown as { session: Map<string, string> }).session.set('uid', uid)
          return uid
        },
      },
    })
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    expect((await app.oauth2.user('uid of sub-alice')).userId).toBe('sub-alice')
  })

  test.each<[string, () => unknown, number, string]>([
    [
      'throws',
      () => Promise.reject(Object.assign(new Error('not one of us'), { statusCode: 403 })),
      403,
      'not one of us',
    ],
    ['gives nothing', () => '', 500, 'resolveUser'],
    ['gives a number', () => 7, 500, 'resolveUser'],
  ])('that %s leaves nothing behind', async (_name, resolveUser, status, text) => {
    const store = memoryStore()
    const { browser, url } = await startApp({ storage: store, client: { resolveUser: resolveUser as never } })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body]).toEqual([status, expect.stringContaining(text)])
    for await (const key of store.list('')) expect.unreachable(key)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
  })
})

test('another identity in a grant flow is refused, though the app says that it is the same user', async () => {
  const { app, browser, url, provider } = await start()
  await browser.goto(`${url}/profile`, as('u1'))
  const stored = async () => (await app.oauth2.user('u1')).credentials?.serialize()
  const before = await stored()
  provider.user = 'bob'
  const page = await browser.goto(`${url}/files`, as('u1'))
  expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
  expect(await stored()).toBe(before)
  expect(provider.count('revoke')).toBe(0)
})

test('a program that lacks one of several accounts gets a link that is of use for that one only', async () => {
  const { app, browser, url, provider } = await start(
    {},
    {
      routes: (instance) => {
        instance.get(
          '/bob',
          { onRequest: requireOAuth([], { account: 'sub-bob' }) },
          async ({ oauth2 }) => oauth2.userId,
        )
      },
    },
  )
  await browser.goto(`${url}/profile`, as('u1'))
  const told = await browser.xhr(`${url}/bob`, as('u1'))
  expect([told.status, told.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  const link = `${url}${told.json().authorizeUrl}&return_url=/bob`
  const refused = await browser.goto(link, as('u1'))
  expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
  expect((await app.oauth2.user('u1')).accounts().map(({ id }) => id)).toEqual(['sub-alice'])
  provider.user = 'bob'
  expect((await browser.goto(link, as('u1'))).body).toBe('sub-bob')
})

test.each(['with users of the app', 'without'])(
  'a link that asks for more is for the account that is there, and for nobody else (%s)',
  async (users) => {
    const { app, browser, url, provider } = await start(users === 'without' ? { userKey: undefined as never } : {}, {
      routes: (instance) =>
        instance.get('/more', { onRequest: requireOAuth() }, ({ oauth2, query }) =>
          oauth2.authorizeUrl('/profile', { scopes: 'files.read', ...(query as object) }),
        ),
    })
    await browser.goto(`${url}/profile`, as('u1'))
    const key = users === 'without' ? 'sub-alice' : 'u1'
    const stored = async () => (await app.oauth2.user(key)).credentials?.serialize()
    const before = await stored()
    const link = url + (await browser.xhr(`${url}/more`, as('u1'))).body
    provider.user = 'bob'
    const page = await browser.goto(link, { ...as('u1'), from: `${url}/` })
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
    expect(await stored()).toBe(before)
    provider.user = 'alice'
    expect((await browser.goto(link, { ...as('u1'), from: `${url}/` })).json().scopes).toContain('files.read')
    // Signing in once more is another thing: without users of the app, the next person may.
    provider.user = 'bob'
    const again = await browser.goto(`${url}/oauth2authorize?return_url=/profile`, { ...as('u1'), from: `${url}/` })
    expect(again.status).toBe(users === 'without' ? 200 : 403)
    // Another account is asked for by name.
    provider.user = 'carol'
    const another = url + (await browser.xhr(`${url}/more?account=new`, as('u1'))).body
    expect((await browser.goto(another, { ...as('u1'), from: `${url}/` })).status).toBe(200)
  },
)

test('a guard for one of several accounts leaves the others where they are', async () => {
  const { app, browser, url, provider } = await start(
    {},
    {
      routes: (instance) => {
        instance.get('/another', { onRequest: requireOAuth() }, async ({ oauth2 }) =>
          oauth2.authorizeUrl('/', { account: 'new' }),
        )
      },
    },
  )
  await browser.goto(`${url}/profile`, as('u1'))
  const link = (await browser.xhr(`${url}/another`, as('u1'))).body
  provider.user = 'bob'
  await browser.goto(url + link, as('u1'))
  const ids = async () => (await app.oauth2.user('u1')).accounts().map(({ id }) => id)
  expect(await ids()).toEqual(['sub-alice', 'sub-bob'])
  provider.user = 'alice'
  // A grant for the first one is about that one.
  expect((await browser.goto(`${url}/files`, as('u1'))).status).toBe(200)
  expect(await ids()).toEqual(['sub-alice', 'sub-bob'])
})

test('where nobody is signed in to the app, the session may be gone', async () => {
  const { browser, url } = await start(
    { userKey: () => undefined },
    {
      routes: (instance) => {
        instance.get('/left', async (request) => {
          // As after `request.session.destroy()`.
          ;(request as { session?: unknown }).session = null
          await request.oauth2.load()
          return { signedIn: request.oauth2.hasCredentials() }
        })
      },
    },
  )
  const page = await browser.xhr(`${url}/left`)
  expect([page.status, page.json()]).toEqual([200, { signedIn: false }])
})

test('userKey may give what can be waited for like a promise, and is asked once a request', async () => {
  let asked = 0
  const query = () => {
    asked += 1
    // biome-ignore lint/suspicious/noThenProperty: as queries of some libraries have it
    return { then: (done: (user: string) => void) => done('u1') } as unknown as Promise<string>
  }
  const { browser, url } = await start({ userKey: query })
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  asked = 0
  expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  expect(asked).toBe(1)
})
