/** Tokens that expire, rotate, die and are given up, while other things happen. RFC 6749 section 6, RFC 9700 section 4.14. */
import { describe, expect, test } from 'vitest'
import { type CredentialStore, oauthAware, requireOAuth } from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Gate } from '../helpers/hold.js'
import type { Answer, ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant } from '../helpers/session-plugins.js'
import { answer } from '../routes/flow.js'

const HOUR = 3_600_000

interface Setup {
  readonly variant?: SessionVariant
  readonly storage?: 'session' | CredentialStore
  readonly rotate?: boolean
}

/** Alice is signed in, and her access token has expired. */
async function expired({ rotate = true, ...options }: Setup): Promise<TestApp> {
  const app = await startApp({
    ...options,
    routes(server) {
      server.get('/leave', { onRequest: oauthAware() }, async ({ oauth2 }) => {
        await oauth2.signOut()
        return 'bye'
      })
      server.post('/call', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
        const response = await oauth2.fetch(`${app.provider.issuer}/api/things`, { method: 'POST', body: 'x=1' })
        return { status: response.status }
      })
    },
  })
  if (rotate) app.provider.refreshTokenPolicy = 'rotate'
  expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
  app.clock.advance(HOUR)
  return app
}

/** Refreshes have their effect, and their answers wait. */
function holdRefreshes(provider: ScriptedProvider, instead?: Answer): Gate {
  const gate = new Gate()
  provider.tokenAnswer = async ({ grant_type }, defaults) => {
    if (grant_type !== 'refresh_token') return undefined
    const usual = await defaults()
    await gate.pass()
    return instead ?? usual
  }
  return gate
}

const who = async ({ browser, url }: TestApp) => (await browser.goto(`${url}/`)).json()
const sentRefreshTokens = ({ provider }: TestApp) =>
  provider.requests.flatMap(({ params }) => (params.grant_type === 'refresh_token' ? [params.refresh_token] : []))

describeEachSession((variant) => {
  describe.each(['session', 'store'] as const)('credentials in the %s', (place) => {
    const setup = (): Setup => ({ variant, storage: place === 'session' ? 'session' : memoryStore() })

    test.each<[string, (given: string) => string | undefined, 'kept' | 'replaced']>([
      ['none', () => undefined, 'kept'],
      ['the same', (given) => given, 'kept'],
      ['a new one', () => 'rt-of-the-test', 'replaced'],
    ])('J3, J4: %s comes with a refresh: what is sent next is what holds', async (_name, next, outcome) => {
      const app = await expired({ ...setup(), rotate: false })
      app.provider.tokenAnswer = ({ refresh_token }) => {
        const body = { access_token: `at-${Math.random()}`, token_type: 'Bearer', expires_in: 3600 }
        return { body: { ...body, refresh_token: next(refresh_token as string) } }
      }
      for (let i = 0; i < 2; i++) {
        expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
        app.clock.advance(HOUR)
      }
      const [first, second] = sentRefreshTokens(app)
      expect(second).toBe(outcome === 'kept' ? first : 'rt-of-the-test')
    })

    test('J4: narrower scopes of a refresh are what is granted from then on', async () => {
      const app = await expired(setup())
      await app.browser.goto(`${app.url}/files`)
      app.clock.advance(HOUR)
      app.provider.tokenAnswer = async ({ grant_type }, defaults) => {
        if (grant_type !== 'refresh_token') return undefined
        const { body } = await defaults()
        return { body: { ...body, scope: 'openid email' } }
      }
      expect((await app.browser.xhr(`${app.url}/profile`)).json().scopes).toEqual(['openid', 'email'])
      expect(answer(await app.browser.xhr(`${app.url}/files`))).toEqual([403, 'FST_OAUTH2_INSUFFICIENT_SCOPE'])
    })

    test('J5: a grant that ended is a 401 for programs and a new sign-in for people, once', async () => {
      const app = await expired(setup())
      app.provider.withdraw()
      const page = await app.browser.xhr(`${app.url}/profile`)
      expect(answer(page)).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
      expect(page.headers.get('www-authenticate')).toMatch(/^Bearer/)
      await app.browser.xhr(`${app.url}/profile`)
      expect(sentRefreshTokens(app)).toHaveLength(1)
      expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    })

    test('J5: a refusal that arrives after somebody signed in anew takes nothing from them', async () => {
      const app = await expired(setup())
      const gate = holdRefreshes(app.provider, { status: 400, body: { error: 'invalid_grant' } })
      const refreshing = app.browser.xhr(`${app.url}/profile`)
      await gate.arrived()
      expect((await app.browser.goto(`${app.url}/oauth2authorize?return_url=/`)).json()).toMatchObject({ has: true })
      gate.release()
      expect([200, 401]).toContain((await refreshing).status)
      expect(await who(app)).toEqual({ user: 'sub-alice', has: true })
      expect((await app.browser.xhr(`${app.url}/api`)).status).toBe(200)
      expect(app.provider.count('authorize')).toBe(2)
    })

    test('J6: while the provider is down, what still works is used, and what has expired is a 503 and kept', async () => {
      const app = await expired(setup())
      app.provider.tokenAnswer = () => ({ status: 429, body: {} })
      const page = await app.browser.xhr(`${app.url}/profile`)
      expect(answer(page)).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
      expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
      app.provider.tokenAnswer = undefined
      expect((await app.browser.xhr(`${app.url}/api`)).status).toBe(200)
      // Due, and not yet over.
      app.clock.advance(HOUR - 30_000)
      app.provider.tokenAnswer = () => ({ status: 429, body: {} })
      expect((await app.browser.xhr(`${app.url}/api`)).status).toBe(200)
      expect(app.provider.count('authorize')).toBe(1)
    })

    test('J11: a refresh that is answered after the sign-out brings nobody back', async () => {
      const app = await expired(setup())
      const gate = holdRefreshes(app.provider)
      const refreshing = app.browser.xhr(`${app.url}/profile`)
      await gate.arrived()
      expect((await app.browser.goto(`${app.url}/leave`)).body).toBe('bye')
      gate.release()
      await refreshing
      expect(await who(app)).toEqual({ user: null, has: false })
      expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(401)
    })

    test('J12: the access token is in the Authorization header, and nowhere else', async () => {
      const app = await expired(setup())
      expect((await app.browser.xhr(`${app.url}/api`)).status).toBe(200)
      expect((await app.browser.xhr(`${app.url}/call`, { method: 'POST' })).json()).toEqual({ status: 200 })
      const calls = app.provider.requests.filter(({ endpoint }) => endpoint === 'api')
      expect(calls).toHaveLength(2)
      for (const { url, body, headers } of calls) {
        const { authorization, ...others } = headers
        const token = /^Bearer (at-canary-\w+)$/.exec(authorization ?? '')?.[1] as string
        expect(token).toBeDefined()
        expect(url + body + JSON.stringify(others)).not.toContain(token)
      }
    })

    test('J13: a refresh for one person that is answered after another one signed in is of no account', async () => {
      const app = await expired(setup())
      const gate = holdRefreshes(app.provider)
      const refreshing = app.browser.xhr(`${app.url}/profile`)
      await gate.arrived()
      app.provider.user = 'bob'
      expect((await app.browser.goto(`${app.url}/oauth2authorize?return_url=/`)).json()).toMatchObject({
        user: 'sub-bob',
      })
      gate.release()
      const late = await refreshing
      if (late.status === 200) expect(late.json()).toMatchObject({ user: 'sub-alice' })
      expect(await who(app)).toEqual({ user: 'sub-bob', has: true })
      expect((await app.browser.xhr(`${app.url}/api`)).json()).toMatchObject({ sub: 'sub-bob' })
    })
  })

  test('J3: a new refresh token is written down before anybody gets the answer', async () => {
    const inner = memoryStore()
    let puts = 0
    const commit = new Gate()
    const app = await expired({
      variant,
      storage: {
        ...inner,
        async put(key, value, expected) {
          puts += 1
          // The sign-in, the claim, and then what was received.
          if (puts === 3) await commit.pass()
          return inner.put(key, value, expected)
        },
      },
    })
    let answered = false
    const asked = app.browser.xhr(`${app.url}/api`).then((page) => {
      answered = true
      return page
    })
    await commit.arrived()
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect([answered, app.provider.count('api')]).toEqual([false, 0])
    commit.release()
    expect((await asked).status).toBe(200)
  })

  test('J3: whoever dies before that leaves a token that is refused, and people sign in again', async () => {
    const map = new Map<string, MemoryEntry>()
    const before = await expired({ variant, storage: memoryStore({ map }) })
    const kept = [...map]
    expect((await before.browser.xhr(`${before.url}/api`)).status).toBe(200)
    before.clock.advance(HOUR)
    // What the store would hold if the process had died.
    for (const [key, entry] of kept) map.set(key, entry)
    expect(answer(await before.browser.xhr(`${before.url}/api`))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    const page = await before.browser.goto(`${before.url}/profile`)
    expect([page.status, page.json().user]).toEqual([200, 'sub-alice'])
    expect((await before.browser.xhr(`${before.url}/api`)).status).toBe(200)
  })

  test('J9: what is stored and cannot be opened is a 503, and nobody writes over it', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await expired({ variant, storage: memoryStore({ map }) })
    const [key, entry] = [...map].find(([name]) => name.startsWith('user/')) as [string, MemoryEntry]
    const damaged = { ...entry, value: `${entry.value?.slice(0, -6)}AAAAAA` }
    map.set(key, damaged)
    for (const path of ['/profile', '/oauth2authorize']) {
      expect(answer(await app.browser.goto(app.url + path))).toEqual([503, 'FST_OAUTH2_CREDENTIALS_UNREADABLE'])
    }
    expect(map.get(key)).toEqual(damaged)
    map.set(key, entry)
    expect((await app.browser.xhr(`${app.url}/api`)).status).toBe(200)
  })

  test('J10: no token is readable in the store, in cookies or in what is logged', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await expired({ variant, storage: memoryStore({ map }) })
    await app.browser.goto(`${app.url}/api`)
    const readable = JSON.stringify([...map]) + JSON.stringify(app.browser.cookies()) + app.logs.text()
    for (const secret of app.provider.secrets()) expect(readable).not.toContain(secret)
  })
})
