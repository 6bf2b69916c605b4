import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { type CredentialStore, Credentials, oauthAware, type RequestOAuth2, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { scriptedProvider } from './serve.js'

const HOUR = 3_600_000

type Use = (oauth2: RequestOAuth2) => unknown

/** A signed-in browser, and a way to run something in a request of it. */
interface Inside extends TestApp {
  /** What `use` comes to in a request; an error of ours comes back as its code. */
  run(use: Use): Promise<unknown>
}

async function inside(options: TestAppOptions = {}, signIn = true): Promise<Inside> {
  let next: Use = () => undefined
  let failure: unknown
  const started = await startApp({
    ...options,
    routes: (app: FastifyInstance, provider) => {
      options.routes?.(app, provider)
      app.post('/run', { onRequest: oauthAware() }, async ({ oauth2 }) => {
        try {
          return { value: await next(oauth2) }
        } catch (error) {
          const { code } = error as { code?: string }
          if (code?.startsWith('FST_OAUTH2_')) return { value: code }
          // What a test expects in there, it expects.
          failure = error
          throw error
        }
      })
    },
  })
  const { browser, url } = started
  if (signIn) expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  return {
    ...started,
    async run(use) {
      next = use
      const page = await browser.xhr(`${url}/run`, { method: 'POST' })
      if (failure) throw failure
      return page.json().value
    },
  }
}

const storages: [string, () => 'session' | CredentialStore][] = [
  ['session', () => 'session'],
  ['memory', () => memoryStore()],
]

describeEachSession((variant) => {
  describe.each(storages)('storage: %s', (kind, storage) => {
    const start = (signIn = true) => inside({ variant, storage: storage() }, signIn)

    test('tells about whoever signed in', async () => {
      const { run, provider, clock } = await start()
      await run((oauth2) => {
        const { credentials } = oauth2
        expect(credentials).toBeInstanceOf(Credentials)
        expect(credentials?.refreshToken).toBeUndefined()
        expect(credentials?.serialize()).not.toContain('rt-canary')
        expect(provider.isValidAccessToken(credentials?.accessToken as string)).toBe(true)
        expect(credentials).toMatchObject({ tokenType: 'Bearer', email: 'alice@example.com', userId: 'sub-alice' })
        expect(oauth2.email).toBe('alice@example.com')
        expect(oauth2.userId).toBe('sub-alice')
        expect(oauth2.claims).toMatchObject({ sub: 'sub-alice', name: 'alice' })
        expect(oauth2.scopes).toEqual(['openid', 'email'])
        expect(oauth2.hasCredentials()).toBe(true)
        expect(oauth2.hasCredentials('email openid')).toBe(true)
        expect(oauth2.hasCredentials(['email', 'files.read'])).toBe(false)
        expect(oauth2.accounts()).toEqual([
          {
            id: 'sub-alice',
            email: 'alice@example.com',
            scopes: ['openid', 'email'],
            declined: [],
            status: 'active',
            obtainedAt: clock.now(),
            expiresAt: credentials?.expiresAt,
            refreshable: true,
          },
        ])
        expect(oauth2.account('sub-alice').email).toBe('alice@example.com')
        expect(oauth2.account('sub-bob').credentials).toBeNull()
        expect(credentials?.expiresAt).toBeGreaterThan(clock.now())
      })
    })

    test('tells about nobody where nobody signed in', async () => {
      const { run } = await start(false)
      await run((oauth2) => {
        expect(oauth2.credentials).toBeNull()
        expect([oauth2.email, oauth2.userId, oauth2.claims]).toEqual([null, null, null])
        expect([oauth2.scopes, oauth2.accounts()]).toEqual([[], []])
        expect(oauth2.hasCredentials()).toBe(false)
      })
      expect(await run((oauth2) => oauth2.getAccessToken())).toBe('FST_OAUTH2_CREDENTIALS_REQUIRED')
      expect(await run((oauth2) => oauth2.revoke())).toMatchObject({ local: false })
      expect(await run((oauth2) => oauth2.signOut())).toBeUndefined()
    })

    test('getAccessToken gives one that works, and another one for one that was refused', async () => {
      const { run, provider, clock } = await start()
      const first = (await run((oauth2) => oauth2.getAccessToken())) as { token: string }
      expect(first).toEqual({
        token: expect.any(String),
        expiresAt: expect.any(Number),
        scopes: ['openid', 'email'],
        tokenType: 'Bearer',
      })
      const second = (await run((oauth2) => oauth2.getAccessToken({ rejected: first.token }))) as { token: string }
      expect(second.token).not.toBe(first.token)
      // Somebody who is late with the same complaint gets what there is now.
      expect(await run((oauth2) => oauth2.getAccessToken({ rejected: first.token }))).toEqual(second)
      expect(provider.count('token', 'refresh_token')).toBe(1)
      clock.advance(HOUR + 1)
      const third = (await run((oauth2) => oauth2.getAccessToken())) as { token: string }
      expect(provider.isValidAccessToken(third.token)).toBe(true)
      expect(third.token).not.toBe(second.token)
    })

    test('H7: tokens that are over when they arrive are asked for once a request, and used', async () => {
      const { run, provider, clock } = await start()
      provider.tokenAnswer = async (_params, defaults) => {
        const answer = await defaults()
        return { ...answer, body: { ...answer.body, expires_in: 0 } }
      }
      clock.advance(HOUR + 1)
      const use = async (oauth2: RequestOAuth2) => [await oauth2.getAccessToken(), await oauth2.getAccessToken()]
      const [first, second] = (await run(use)) as { token: string }[]
      expect(provider.isValidAccessToken(first?.token as string)).toBe(true)
      expect(second).toEqual(first)
      expect(provider.count('token', 'refresh_token')).toBe(1)
      await run(async (oauth2) => {
        await oauth2.getAccessToken()
        // A request that goes on for long, such as a stream, is another matter.
        clock.advance(60_000)
        await oauth2.getAccessToken()
      })
      expect(provider.count('token', 'refresh_token')).toBe(3)
    })

    test('many at once make one refresh', async () => {
      const { run, provider, clock } = await start()
      clock.advance(HOUR + 1)
      const hold = provider.hold('token')
      const all = Array.from({ length: 5 }, () => run((oauth2) => oauth2.getAccessToken()))
      await hold.arrived()
      hold.release()
      const tokens = new Set((await Promise.all(all)).map((answer) => (answer as { token: string }).token))
      expect(tokens.size).toBe(1)
      expect(provider.count('token', 'refresh_token')).toBe(1)
    })

    test('signOut ends the link of this browser', async () => {
      const { run, provider, browser, url } = await start()
      await run(async (oauth2) => {
        await oauth2.signOut()
        expect(oauth2.credentials).toBeNull()
        expect(oauth2.accounts()).toEqual([])
      })
      expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
      expect(provider.count('revoke')).toBe(0)
    })

    test('revoke ends the grant, here and at the provider', async () => {
      const { run, provider, browser, url } = await start()
      const result = await run(async (oauth2) => {
        const outcome = await oauth2.revoke()
        expect(oauth2.hasCredentials()).toBe(false)
        return outcome
      })
      expect(result).toEqual({ local: true, remote: 'revoked' })
      expect(provider.requests.at(-1)?.params.token).toMatch(/^rt-/)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
      expect(await run((oauth2) => oauth2.revoke())).toMatchObject({ local: false })
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    })

    test('J11: revoke counts when the provider does not answer, or cannot', async () => {
      const failing = await start()
      failing.provider.revokeAnswer = () => ({ status: 500 })
      expect(await failing.run((oauth2) => oauth2.revoke())).toEqual({ local: true, remote: 'failed' })
      expect((await failing.browser.xhr(`${failing.url}/profile`)).status).toBe(401)
      const provider = await scriptedProvider()
      provider.metadata = ({ revocation_endpoint: _, ...metadata }) => metadata
      const without = await inside({ variant, storage: storage(), provider })
      expect(await without.run((oauth2) => oauth2.revoke())).toEqual({ local: true, remote: 'unsupported' })
      expect((await without.browser.xhr(`${without.url}/profile`)).status).toBe(401)
    })

    test('adopt stores what was obtained elsewhere', async () => {
      const { run, browser, url } = await start()
      const fields = { scopes: ['openid', 'email', 'files.read'], userId: 'sub-alice', email: 'new@example.com' }
      await run((oauth2) => oauth2.adopt(Credentials.fromAccessToken('from-elsewhere', fields)))
      expect(await run((oauth2) => [oauth2.email, oauth2.scopes])).toEqual(['new@example.com', fields.scopes])
      expect((await browser.xhr(`${url}/files`)).status).toBe(200)
      const foreign = Credentials.fromAccessToken('x', { clientId: 'another-client' })
      expect(await run((oauth2) => oauth2.adopt(foreign))).toBe('FST_OAUTH2_CLIENT_MISMATCH')
      expect(await run((oauth2) => oauth2.email)).toBe('new@example.com')
    })

    test('adopt is for somebody', async () => {
      const { run } = await start(false)
      const credentials = Credentials.fromAccessToken('from-elsewhere', { userId: 'sub-alice' })
      expect(await run((oauth2) => oauth2.adopt(credentials))).toBe('FST_OAUTH2_USER_REQUIRED')
    })

    test('adopt after a revocation ends, and works from the next request on', async () => {
      const { run } = await inside({ variant, storage: storage(), client: { userKey: () => 'u1' } })
      const credentials = Credentials.fromAccessToken('from-elsewhere', { userId: 'sub-alice' })
      const outcome = await run(async (oauth2) => {
        await oauth2.revoke()
        await oauth2.adopt(credentials)
        return 'adopted'
      })
      // What is in a session ends with its id.
      expect(outcome).toBe(kind === 'session' ? 'FST_OAUTH2_CREDENTIALS_REQUIRED' : 'adopted')
      expect(await run((oauth2) => oauth2.adopt(credentials))).toBeUndefined()
      expect(await run((oauth2) => oauth2.credentials?.accessToken)).toBe('from-elsewhere')
    })

    describe('fetch', () => {
      test('N2: an API that refuses every token makes one refresh a minute', async () => {
        const { run, provider, clock } = await start()
        provider.apiAnswer = () => ({ status: 401, body: { error: 'never' } })
        const call = () => run(async (oauth2) => (await oauth2.fetch(`${provider.issuer}/api/x`)).status)
        expect(await call()).toBe(401)
        expect([provider.count('api'), provider.count('token', 'refresh_token')]).toEqual([2, 1])
        clock.advance(59_000)
        expect(await call()).toBe(401)
        expect([provider.count('api'), provider.count('token', 'refresh_token')]).toEqual([3, 1])
        clock.advance(1_001)
        expect(await call()).toBe(401)
        expect([provider.count('api'), provider.count('token', 'refresh_token')]).toEqual([5, 2])
      })

      test('what an API does to one person is nothing to another', async () => {
        const { provider, app, browser, url } = await inside({
          variant,
          storage: storage(),
          routes: (instance, { issuer }) => {
            // Without a guard, as in an app that loads by hand.
            instance.get('/unguarded', async ({ oauth2 }) => (await oauth2.fetch(`${issuer}/api/x`)).status)
          },
        })
        const bob = browser.clone()
        for (const { name } of bob.cookies()) bob.deleteCookie('localhost', name)
        provider.user = 'bob'
        await bob.goto(`${url}/profile`)
        provider.expireAccessTokens()
        provider.apiAnswer = async (_params, defaults) => {
          const { body } = await defaults()
          return body.sub === 'sub-alice' ? { status: 401, body: {} } : undefined
        }
        expect((await browser.xhr(`${url}/unguarded`)).body).toBe('401')
        expect((await bob.xhr(`${url}/unguarded`)).body).toBe('200')
        expect(app.oauth2.name).toBe('oauth2')
      })

      test('a token that an API refuses is replaced once, and the call made again', async () => {
        const { run, provider } = await start()
        provider.expireAccessTokens()
        const answer = await run(async (oauth2) => {
          const response = await oauth2.fetch(`${provider.issuer}/api/x?q=1`, {
            method: 'POST',
            body: JSON.stringify({ a: 1 }),
            headers: { 'content-type': 'application/json', 'x-mine': 'kept', authorization: 'Basic mine' },
          })
          return [response.status, await response.json()]
        })
        expect(answer).toMatchObject([200, { sub: 'sub-alice' }])
        const calls = provider.requests.filter(({ endpoint }) => endpoint === 'api')
        expect(calls).toHaveLength(2)
        for (const { method, url, body, headers } of calls) {
          expect([method, url, body]).toEqual(['POST', '/api/x?q=1', '{"a":1}'])
          expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-mine': 'kept' })
          expect(headers.authorization).toMatch(/^Bearer at-/)
        }
        expect(calls[0]?.headers.authorization).not.toBe(calls[1]?.headers.authorization)
        expect(provider.count('token', 'refresh_token')).toBe(1)
      })
    })
  })
})

describe('fetch', () => {
  test('J12: carries the token to allowed origins only', async () => {
    const other = await scriptedProvider()
    const allowed = await scriptedProvider()
    const { run, provider } = await inside({ client: { allowedOrigins: [allowed.issuer] } })
    const call = (url: string | URL | Request) =>
      run(async (oauth2) => (await oauth2.fetch(url, { headers: { 'x-mine': '1' } })).status)
    expect(await call(`${provider.issuer}/api/x`)).toBe(200)
    expect(await call(new URL('/api/x', provider.issuer))).toBe(200)
    await call(`${allowed.issuer}/api/x`)
    expect(allowed.requests.at(-1)?.headers.authorization).toMatch(/^Bearer at-/)
    const { host } = new URL(provider.issuer)
    for (const elsewhere of [
      `${other.issuer}/api/x`,
      new URL('/api/x', other.issuer),
      new Request(`${other.issuer}/api/x`),
      `http://${host.replace('localhost', '127.0.0.1')}/api/x`,
      `https://${host}/api/x`,
      `http://${host}@evil.example/`,
      'http://localhost.evil.example/',
      'data:text/plain,x',
    ]) {
      expect([String(elsewhere), await call(elsewhere)]).toEqual([String(elsewhere), 'FST_OAUTH2_ORIGIN_NOT_ALLOWED'])
    }
    expect(other.requests).toEqual([])
  })

  test('J12: a redirect to another origin carries no token', async () => {
    const other = await scriptedProvider()
    const { run, provider } = await inside()
    provider.apiAnswer = (_params, _defaults, { url }) => {
      if (url === '/api/away') return { status: 302, headers: { location: `${other.issuer}/api/there` } }
      return url === '/api/moved' ? { status: 302, headers: { location: '/api/here' } } : undefined
    }
    other.apiAnswer = () => ({ status: 200, body: {} })
    const call = (path: string) =>
      run(async (oauth2) => (await oauth2.fetch(provider.issuer + path, { headers: { 'x-mine': 'kept' } })).status)
    expect(await call('/api/away')).toBe(200)
    const [there] = other.requests
    expect(there?.url).toBe('/api/there')
    expect(there?.headers.authorization).toBeUndefined()
    expect(there?.headers['x-mine']).toBe('kept')
    expect(await call('/api/moved')).toBe(200)
    expect(provider.requests.at(-1)).toMatchObject({ url: '/api/here', headers: { 'x-mine': 'kept' } })
  })

  test('a stream that was sent is not sent again, and the answer is handed over', async () => {
    const { run, provider } = await inside()
    provider.expireAccessTokens()
    const bodies = {
      stream: () => new Blob(['once']).stream(),
      generator: async function* () {
        yield Buffer.from('once')
      },
    }
    for (const body of Object.values(bodies)) {
      const status = await run(async (oauth2) => {
        const init = { method: 'POST', body: body(), duplex: 'half' } as unknown as RequestInit
        return (await oauth2.fetch(`${provider.issuer}/api/x`, init)).status
      })
      expect(status).toBe(401)
      expect(provider.requests.at(-1)?.body).toBe('once')
    }
    expect([provider.count('api'), provider.count('token', 'refresh_token')]).toEqual([2, 0])
  })

  test('a Request is sent again with its body', async () => {
    const { run, provider } = await inside()
    provider.expireAccessTokens()
    const status = await run(async (oauth2) => {
      const request = new Request(`${provider.issuer}/api/x`, {
        method: 'PUT',
        body: 'twice',
        headers: { 'x-mine': '1' },
      })
      return (await oauth2.fetch(request)).status
    })
    expect(status).toBe(200)
    const calls = provider.requests.filter(({ endpoint }) => endpoint === 'api')
    expect(calls.map(({ method, body, headers }) => [method, body, headers['x-mine']])).toEqual([
      ['PUT', 'twice', '1'],
      ['PUT', 'twice', '1'],
    ])
  })

  test.each([403, 404, 429, 500])('a %i of the API is an answer like any other', async (status) => {
    const { run, provider } = await inside()
    provider.apiAnswer = () => ({ status, headers: { 'x-api': '1' }, body: { error: 'its own' } })
    const answer = await run(async (oauth2) => {
      const response = await oauth2.fetch(`${provider.issuer}/api/x`)
      return [response.status, response.headers.get('x-api'), await response.json()]
    })
    expect(answer).toEqual([status, '1', { error: 'its own' }])
    expect([provider.count('api'), provider.count('token', 'refresh_token')]).toEqual([1, 0])
  })

  test("an outage of the provider leaves the API's own answer", async () => {
    const { run, provider } = await inside({ storage: memoryStore() })
    provider.expireAccessTokens()
    provider.tokenAnswer = () => ({ status: 503 })
    expect(await run(async (oauth2) => (await oauth2.fetch(`${provider.issuer}/api/x`)).status)).toBe(401)
    expect(provider.count('api')).toBe(1)
  })
})

describe('authorizeUrl', () => {
  test('asks for what it says, and leads back', async () => {
    const { run, browser, url, provider } = await inside()
    const link = (await run((oauth2) =>
      oauth2.authorizeUrl('/files?page=2', {
        scopes: 'files.read',
        prompt: 'consent',
        loginHint: 'alice@work.example',
      }),
    )) as string
    expect(link).toMatch(/^\/oauth2authorize\?ticket=[\w.-]+&return_url=%2Ffiles%3Fpage%3D2$/)
    const page = await browser.goto(url + link)
    expect([page.status, page.url]).toEqual([200, `${url}/files?page=2`])
    const sent = provider.requests.findLast(({ endpoint }) => endpoint === 'authorize')
    expect(sent?.params).toMatchObject({ prompt: 'consent', login_hint: 'alice@work.example' })
    expect(sent?.params.scope?.split(' ')).toContain('files.read')
  })

  test('carries nothing that is not needed, and leads nowhere else', async () => {
    const { run } = await inside()
    expect(await run((oauth2) => oauth2.authorizeUrl())).toBe('/oauth2authorize')
    expect(await run((oauth2) => oauth2.authorizeUrl('/a b'))).toBe('/oauth2authorize?return_url=%2Fa%2520b')
    for (const evil of ['//evil.example', 'https://evil.example/', '/\\evil.example', 'evil', '/oauth2callback']) {
      expect(await run((oauth2) => oauth2.authorizeUrl(evil))).toBe('/oauth2authorize?return_url=%2F')
    }
    expect(await run((oauth2) => oauth2.authorizeUrl('/', { scopes: ['two words'] }))).toBe('FST_OAUTH2_OPTION_INVALID')
  })

  test('is of no use after an hour, or when it was altered', async () => {
    const { run, browser, url, clock, provider } = await inside()
    const link = url + (await run((oauth2) => oauth2.authorizeUrl('/', { scopes: 'files.read' })))
    const altered = link.replace('ticket=e', 'ticket=f')
    expect((await browser.goto(altered)).body).toContain('FST_OAUTH2_TICKET_INVALID')
    clock.advance(HOUR + 1)
    const page = await browser.goto(link)
    expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_TICKET_INVALID')])
    expect(provider.count('authorize')).toBe(1)
  })

  test('for an account, or a new one, is about that account', async () => {
    const { run, browser, url, provider } = await inside({
      storage: memoryStore(),
      client: { userKey: () => 'u1' },
      routes: (app) => {
        app.get('/second', { onRequest: requireOAuth([], { account: 'sub-bob' }) }, async ({ oauth2 }) => ({
          is: oauth2.userId,
          first: oauth2.account('sub-alice').email,
          token: (await oauth2.account('sub-alice').getAccessToken()).token !== (await oauth2.getAccessToken()).token,
        }))
      },
    })
    provider.user = 'bob'
    await browser.goto(url + (await run((oauth2) => oauth2.authorizeUrl('/', { account: 'new' }))))
    expect(await run((oauth2) => oauth2.accounts().map(({ email }) => email))).toEqual([
      'alice@example.com',
      'bob@example.com',
    ])
    expect((await browser.xhr(`${url}/second`)).json()).toEqual({
      is: 'sub-bob',
      first: 'alice@example.com',
      token: true,
    })
    // For bob's account, with alice at the keyboard.
    provider.user = 'alice'
    const link = await run((oauth2) => oauth2.authorizeUrl('/', { account: 'sub-bob', scopes: 'files.read' }))
    const page = await browser.goto(url + link)
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
    await run((oauth2) => oauth2.account('sub-bob').revoke())
    expect(await run((oauth2) => oauth2.accounts().map(({ id }) => id))).toEqual(['sub-alice'])
  })
})

test('J10: nothing that a log or a response can get hold of holds a secret', async () => {
  const { run, provider, logs } = await inside({
    routes: (app) => {
      app.post('/dump', { onRequest: oauthAware() }, async ({ oauth2 }) => oauth2.credentials)
    },
  })
  const shown = await run((oauth2) => JSON.stringify([oauth2.credentials, oauth2.accounts(), oauth2.claims]))
  for (const secret of provider.secrets().filter((value) => value.includes('canary'))) {
    expect(shown).not.toContain(secret)
    expect(logs.text()).not.toContain(secret)
  }
})
