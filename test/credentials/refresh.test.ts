import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type CredentialStore, type CredentialsChanged, oauthAware, requireOAuth } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { Gate } from '../helpers/hold.js'
import { type Answer, type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const SECOND = 1000

/** Time of the wall and of the machine move together; real time comes on top of the latter. */
let clock: FakeClock
beforeEach(() => {
  clock = fakeClock()
  const start = clock.now()
  const real = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => real() + clock.now() - start)
  // No jitter: what is due, is due to the millisecond.
  vi.spyOn(Math, 'random').mockReturnValue(0)
})
afterEach(() => vi.restoreAllMocks())

interface Setup extends Omit<TestAppOptions, 'clock'> {
  /** Of the provider, as far as we are told. Default: unknown, which is taken for the strictest kind. */
  readonly rotation?: 'none' | 'rotating' | 'strict'
  /** What the provider is like before anybody signs in. */
  readonly prepare?: (provider: ScriptedProvider) => void
  readonly signIn?: false
}

interface Signed extends TestApp {
  readonly map: Map<string, MemoryEntry>
  readonly changes: CredentialsChanged[]
  readonly refreshes: () => number
  readonly record: () => ReturnType<typeof recordOf>
}

/** Alice is signed in, with a token for an hour. */
async function signedIn({ rotation, prepare, signIn, ...options }: Setup = {}): Promise<Signed> {
  const provider = options.provider ?? (await startScriptedProvider())
  if (!options.provider) onTestFinished(() => provider.close())
  prepare?.(provider)
  const map = new Map<string, MemoryEntry>()
  const changes: CredentialsChanged[] = []
  const app = await startApp({
    storage: memoryStore({ map, clock: clock.now }),
    ...options,
    provider,
    clock,
    client: {
      provider: { issuer: provider.issuer, ...(rotation ? { refresh: { rotation } } : {}) },
      onCredentialsChanged: (event) => void changes.push(event),
      ...(typeof options.client === 'function' ? options.client(provider) : options.client),
    },
    routes(instance, p) {
      instance.get('/refreshed', { onRequest: requireOAuth() }, async () => recordOf(instance))
      instance.post('/revoke', { onRequest: oauthAware() }, ({ oauth2 }) => oauth2.revoke())
      options.routes?.(instance, p)
    },
  })
  if (signIn !== false) expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
  return {
    ...app,
    map,
    changes,
    refreshes: () => provider.count('token', 'refresh_token'),
    record: () => recordOf(app.app),
  }
}

/** The one account that is stored. */
async function recordOf(app: FastifyInstance, user = 'sub-alice') {
  const snapshot = await app.oauth2[kClient].manager.vaultOf(user).read()
  return snapshot?.record.accounts[0]
}

const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
const NEEDED = [401, 'FST_OAUTH2_CREDENTIALS_REQUIRED']
const DOWN = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
const apiToken = (provider: ScriptedProvider) =>
  provider.requests.findLast(({ endpoint }) => endpoint === 'api')?.headers.authorization?.slice('Bearer '.length)
const onRefresh = (provider: ScriptedProvider, answer: Answer | (() => Answer | undefined)) => {
  provider.tokenAnswer = ({ grant_type }) =>
    grant_type === 'refresh_token' ? (typeof answer === 'function' ? answer() : answer) : undefined
}
/** Refreshes take effect, and their answers wait; other token requests are not held. */
function holdRefreshes(provider: ScriptedProvider): Gate {
  const gate = new Gate()
  onTestFinished(() => gate.release())
  provider.tokenAnswer = async ({ grant_type }, defaults) => {
    if (grant_type !== 'refresh_token') return undefined
    const answer = await defaults()
    await gate.pass()
    return answer
  }
  return gate
}

describe.each([
  ['memory', {}],
  ["'session'", { storage: 'session' }],
  ["'session' in a cookie", { storage: 'session', variant: sessionVariants[2] }],
] as [string, Setup][])('storage: %s', (_name, setup) => {
  test('an expired token is refreshed before anybody uses it', async () => {
    const { browser, url, provider, refreshes } = await signedIn(setup)
    clock.advance(HOUR)
    expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect([refreshes(), provider.count('api')]).toEqual([1, 1])
    expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(1)
  })

  test('a token with 59 s left is refreshed before it is used', async () => {
    const { browser, url, provider, refreshes } = await signedIn(setup)
    await browser.goto(`${url}/api`)
    const first = apiToken(provider)
    clock.advance(HOUR - 59 * SECOND)
    await browser.goto(`${url}/api`)
    expect(refreshes()).toBe(1)
    expect(apiToken(provider)).not.toBe(first)
  })

  test('a token with 10 minutes left is not refreshed', async () => {
    const { browser, url, refreshes } = await signedIn(setup)
    clock.advance(HOUR - 600 * SECOND)
    await browser.goto(`${url}/api`)
    expect(refreshes()).toBe(0)
  })

  test('J1: 50 requests at once make one refresh, and every one of them is served', async () => {
    let requests = 0
    let all: () => void = () => {}
    const everybody = new Promise<void>((resolve) => {
      all = resolve
    })
    const { browser, url, provider, refreshes } = await signedIn({
      ...setup,
      routes: (app) => {
        app.addHook('onRequest', async () => {
          requests += 1
          if (requests === 50) all()
        })
      },
    })
    requests = 0
    clock.advance(HOUR)
    const hold = provider.hold('token')
    const pages = Array.from({ length: 50 }, () => browser.xhr(`${url}/profile`))
    await Promise.all([everybody, hold.arrived()])
    await turn()
    hold.release()
    expect((await Promise.all(pages)).map(({ status }) => status)).toEqual(Array(50).fill(200))
    expect(refreshes()).toBe(1)
    expect((await browser.xhr(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(1)
  })

  test('J1: one refresh, too, when one request could wait and another one cannot', async () => {
    let answered: () => void = () => {}
    const refused = new Promise<void>((resolve) => {
      answered = resolve
    })
    const { browser, url, provider, refreshes } = await signedIn({
      ...setup,
      client: {
        fetch: async (input, init) => {
          const response = await fetch(input, init)
          if (response.status === 401) answered()
          return response
        },
      },
    })
    const api = provider.hold('api', 'before')
    const late = browser.xhr(`${url}/api`)
    await api.arrived()
    clock.advance(HOUR - 30 * SECOND)
    const token = provider.hold('token', 'before')
    const early = browser.xhr(`${url}/profile`)
    await token.arrived()
    provider.expireAccessTokens()
    api.release()
    await refused
    for (let i = 0; i < 20; i += 1) await turn()
    token.release()
    expect((await Promise.all([early, late])).map(({ status }) => status)).toEqual([200, 200])
    expect(refreshes()).toBe(1)
  })

  test('J6: a live token is served when the provider fails, and the provider is left alone for a while', async () => {
    const { browser, url, provider, refreshes } = await signedIn({ ...setup, rotation: 'none' })
    clock.advance(HOUR - 59 * SECOND)
    onRefresh(provider, { status: 503, body: {} })
    for (let i = 0; i < 5; i += 1) expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(1)
    clock.advance(11 * SECOND)
    expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(2)
  })

  test('J6: a provider that is down is a 503 that says when to come back, and what is stored is kept', async () => {
    const { browser, url, provider } = await signedIn({ ...setup, rotation: 'none' })
    clock.advance(HOUR)
    onRefresh(provider, { status: 502, body: '<html>bad gateway</html>' })
    const page = await browser.goto(`${url}/profile`)
    expect(codeOf(page)).toEqual(DOWN)
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
    provider.tokenAnswer = undefined
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(provider.count('authorize')).toBe(1)
  })

  test('J3: a new refresh token is the one that is used next', async () => {
    const { browser, url, refreshes } = await signedIn({
      ...setup,
      prepare: (provider) => {
        provider.refreshTokenPolicy = 'rotate'
      },
    })
    for (let i = 1; i <= 3; i += 1) {
      clock.advance(HOUR)
      expect((await browser.goto(`${url}/api`)).status).toBe(200)
      expect(refreshes()).toBe(i)
    }
  })

  test('J5: invalid_grant ends it: a script is told once and for all, a person is asked', async () => {
    const { browser, url, provider, refreshes } = await signedIn(setup)
    clock.advance(HOUR)
    provider.withdraw()
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(refreshes()).toBe(1)
    expect((await browser.step(`${url}/profile`)).location).toContain(provider.issuer)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })
})

describe('early refresh', () => {
  test.each([
    ['61 s before', 60, 0, 61 * SECOND, 0],
    ['60 s before', 60, 0, 60 * SECOND, 1],
    ['with the largest jitter: 55 s before', 60, 0.999_999, 55 * SECOND, 0],
    ['with the largest jitter: 54 s before', 60, 0.999_999, 54 * SECOND, 1],
    ['switched off: a moment before', 0, 0, 1, 0],
    ['switched off: at the end', 0, 0, 0, 1],
    ['5 minutes, 4 before', 300, 0, 240 * SECOND, 1],
  ])('%s', async (_name, refreshBeforeExpiry, random, left, expected) => {
    const { browser, url, refreshes } = await signedIn({ client: { refreshBeforeExpiry } })
    vi.mocked(Math.random).mockReturnValue(random)
    clock.advance(HOUR - left)
    expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(expected)
  })

  test('a token that lives shorter than that is not due from the start, but in the second half of its life', async () => {
    const { browser, url, refreshes } = await signedIn({
      prepare: (provider) => {
        provider.expiresIn = 40
      },
    })
    clock.advance(19 * SECOND)
    await browser.goto(`${url}/profile`)
    expect(refreshes()).toBe(0)
    clock.advance(2 * SECOND)
    await browser.goto(`${url}/profile`)
    expect(refreshes()).toBe(1)
  })

  test('a slow provider does not keep a request waiting whose token still works', async () => {
    const { browser, url, provider, refreshes, record } = await signedIn()
    clock.advance(HOUR - 30 * SECOND)
    const gate = holdRefreshes(provider)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(gate.waiting).toBe(1)
    gate.release()
    await vi.waitFor(async () => expect((await record())?.attempt).toBeUndefined())
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(refreshes()).toBe(1)
  })
})

describe('J5: the provider says that the grant is over', () => {
  const challenge = { 'www-authenticate': 'Bearer error="invalid_grant", error_description="gone"' }
  test.each<[string, Answer]>([
    ['400, JSON', { status: 400, body: { error: 'invalid_grant', error_description: 'canary of the provider' } }],
    ['401, WWW-Authenticate', { status: 401, headers: challenge, body: {} }],
    ['401, both', { status: 401, headers: challenge, body: { error: 'invalid_grant' } }],
    ['403, JSON', { status: 403, body: { error: 'invalid_grant' } }],
    [
      'JSON that says it is text',
      { status: 400, headers: { 'content-type': 'text/plain' }, body: '{"error":"invalid_grant"}' },
    ],
    ['200 and an error', { status: 200, body: { error: 'bad_refresh_token', error_description: 'x' } }],
  ])('%s', async (_name, answer) => {
    const { browser, url, provider, refreshes, record, changes, logs } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, answer)
    const hold = provider.hold('token')
    const requests = [1, 2, 3].map(() => browser.xhr(`${url}/profile`))
    await hold.arrived()
    hold.release()
    expect((await Promise.all(requests)).map(codeOf)).toEqual([NEEDED, NEEDED, NEEDED])
    expect(await record()).toMatchObject({ dead: 'refused', email: 'alice@example.com' })
    expect(await record()).not.toHaveProperty('attempt')
    const navigation = await browser.step(`${url}/profile`)
    expect([navigation.status, navigation.location]).toEqual([302, expect.stringContaining('/authorize?')])
    expect(refreshes()).toBe(1)
    expect(changes.map(({ change }) => change)).toEqual(['authorized', 'needs_reauthorization'])
    expect(logs.text()).not.toContain('canary of the provider')
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(await record()).not.toHaveProperty('dead')
  })
})

describe('anything else is no reason to give up a grant', () => {
  test.each<[string, Answer, (number | string)[], boolean]>([
    ['500 and invalid_grant', { status: 500, body: { error: 'invalid_grant' } }, DOWN, true],
    ['503 and invalid_grant', { status: 503, body: { error: 'invalid_grant' } }, DOWN, true],
    ['400 and server_error', { status: 400, body: { error: 'server_error' } }, DOWN, true],
    ['200 and HTML', { status: 200, body: '<html>sign in to the hotel network</html>' }, DOWN, true],
    ['200 and an empty object', { status: 200, body: {} }, DOWN, true],
    ['200 and a list', { status: 200, body: [] }, DOWN, true],
    ['cut connection', { destroy: true }, DOWN, true],
    ['429', { status: 429, body: {} }, DOWN, false],
    ['429 and invalid_grant', { status: 429, body: { error: 'invalid_grant' } }, DOWN, false],
    ['slow_down', { status: 400, body: { error: 'slow_down' } }, DOWN, false],
    ['temporarily_unavailable', { status: 400, body: { error: 'temporarily_unavailable' } }, DOWN, false],
    ['invalid_client', { status: 401, body: { error: 'invalid_client' } }, [500, 'FST_OAUTH2_CLIENT_REJECTED'], false],
    [
      'unauthorized_client',
      { status: 400, body: { error: 'unauthorized_client' } },
      [500, 'FST_OAUTH2_CLIENT_REJECTED'],
      false,
    ],
    ['invalid_scope', { status: 400, body: { error: 'invalid_scope' } }, [502, 'FST_OAUTH2_EXCHANGE_FAILED'], false],
    ['404', { status: 404, body: 'not here' }, [502, 'FST_OAUTH2_EXCHANGE_FAILED'], false],
    [
      'a redirect',
      { status: 307, headers: { location: '/elsewhere' }, body: '' },
      [502, 'FST_OAUTH2_EXCHANGE_FAILED'],
      false,
    ],
  ])('%s', async (_name, answer, expected, inDoubt) => {
    const { browser, url, provider, refreshes, record, changes } = await signedIn()
    const before = await record()
    clock.advance(HOUR)
    onRefresh(provider, answer)
    expect(codeOf(await browser.goto(`${url}/profile`))).toEqual(expected)
    const { attempt, ...after } = (await record()) ?? {}
    expect(after).toEqual(before)
    expect(attempt !== undefined).toBe(inDoubt)
    expect(changes.map(({ change }) => change)).toEqual(['authorized'])
    provider.tokenAnswer = undefined
    // Where it cannot have had an effect, the next request simply tries again.
    expect((await browser.xhr(`${url}/profile`)).status).toBe(inDoubt ? 503 : 200)
    expect(refreshes()).toBe(inDoubt ? 1 : 2)
    expect(provider.count('unknown')).toBe(0)
  })

  test('429 with Retry-After as a date: seconds are said to whoever asked', async () => {
    const { browser, url, provider } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, {
      status: 429,
      headers: { 'retry-after': new Date(Date.now() + 90_000).toUTCString() },
      body: {},
    })
    const seconds = Number((await browser.xhr(`${url}/profile`)).headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(60)
    expect(seconds).toBeLessThanOrEqual(90)
  })

  test('429 with Retry-After: the same is said to whoever asked', async () => {
    const { browser, url, provider } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, { status: 429, headers: { 'retry-after': '120' }, body: {} })
    expect((await browser.xhr(`${url}/profile`)).headers.get('retry-after')).toBe('120')
  })

  test('a connection that was never made', async () => {
    let refused = false
    const { browser, url, refreshes, record } = await signedIn({
      client: {
        fetch: async (input, init) => {
          if (!refused) return fetch(input, init)
          throw new TypeError('fetch failed', { cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }) })
        },
      },
    })
    clock.advance(HOUR)
    refused = true
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    expect(await record()).not.toHaveProperty('attempt')
    refused = false
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(refreshes()).toBe(1)
  })
})

/** The request has its effect, and this is all that comes back. */
const afterEffect = (answer: Answer) => async (defaults: () => Promise<unknown>) => {
  await defaults()
  return answer
}

describe('an answer that got lost', () => {
  const lost: [string, (defaults: () => Promise<unknown>) => Promise<Answer>][] = [
    ['reset', afterEffect({ destroy: true })],
    ['timeout', afterEffect({ hang: true })],
    ['500 after it took effect', afterEffect({ status: 500, body: {} })],
  ]
  const lose = (provider: ScriptedProvider, answer: (defaults: () => Promise<unknown>) => Promise<Answer>) => {
    let times = 0
    provider.tokenAnswer = ({ grant_type }, defaults) => {
      times += grant_type === 'refresh_token' ? 1 : 0
      return grant_type === 'refresh_token' && times === 1 ? answer(defaults) : undefined
    }
  }

  test.each(lost)('%s: an unknown provider is not asked again within 30 s, and once after', async (_name, answer) => {
    const { browser, url, provider, refreshes, record } = await signedIn({ client: { timeout: 1000 } })
    clock.advance(HOUR)
    lose(provider, answer)
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    const attempt = (await record())?.attempt
    expect(attempt).toMatchObject({ id: expect.any(String), hash: expect.any(String) })
    for (const ms of [0, 10 * SECOND, 20 * SECOND - 1]) {
      clock.advance(ms)
      const page = await browser.xhr(`${url}/profile`)
      expect(codeOf(page)).toEqual(DOWN)
      expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    expect(refreshes()).toBe(1)
    clock.advance(1)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(refreshes()).toBe(2)
    expect(await record()).not.toHaveProperty('attempt')
  })

  test('again at most once in 30 s, however often it goes wrong', async () => {
    const { browser, url, provider, refreshes } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, { status: 500, body: {} })
    for (let i = 1; i <= 3; i += 1) {
      for (let j = 0; j < 3; j += 1) expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
      expect(refreshes()).toBe(i)
      clock.advance(30 * SECOND)
    }
  })

  test('invalid_grant after that means that the rotation was lost', async () => {
    const { browser, url, provider, refreshes, record } = await signedIn({
      prepare: (p) => {
        p.refreshTokenPolicy = 'rotate'
      },
    })
    clock.advance(HOUR)
    lose(provider, afterEffect({ destroy: true }))
    expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
    clock.advance(30 * SECOND)
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(await record()).toMatchObject({ dead: 'lost_rotation' })
    expect(refreshes()).toBe(2)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })

  test.each(lost)('%s: a provider without rotation is asked again at once', async (_name, answer) => {
    const { browser, url, provider, refreshes } = await signedIn({ rotation: 'none', client: { timeout: 1000 } })
    clock.advance(HOUR)
    lose(provider, answer)
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(refreshes()).toBe(2)
  })

  test('meanwhile a token that still works is used, and a strict provider not asked while it does', async () => {
    const { browser, url, provider, refreshes } = await signedIn({ client: { refreshBeforeExpiry: 600 } })
    clock.advance(HOUR - 300 * SECOND)
    lose(provider, afterEffect({ destroy: true }))
    for (const ms of [0, 60 * SECOND, 200 * SECOND]) {
      clock.advance(ms)
      expect((await browser.goto(`${url}/api`)).status).toBe(200)
    }
    expect(refreshes()).toBe(1)
    clock.advance(60 * SECOND)
    expect((await browser.goto(`${url}/api`)).status).toBe(200)
    expect(refreshes()).toBe(2)
  })

  test('a provider with a grace period is asked again at once, for as long as that lasts', async () => {
    const { browser, url, provider, refreshes } = await signedIn({
      client: (p) => ({ provider: { issuer: p.issuer, refresh: { rotation: 'strict', grace: 30 } } }),
    })
    clock.advance(HOUR)
    onRefresh(provider, { status: 500, body: {} })
    for (const [ms, expected] of [
      [0, 1],
      [0, 2],
      [19 * SECOND, 3],
      // Ten seconds are left of it, which a request may take to arrive.
      [SECOND, 3],
      // The third one is half a minute old by now.
      [29 * SECOND, 4],
    ] as const) {
      clock.advance(ms)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
      expect(refreshes()).toBe(expected)
    }
  })

  test('another process waits for the attempt to be abandoned, by the clock of the store', async () => {
    const { get, ...rest } = memoryStore({ clock: clock.now })
    let looks = 0
    const storage: CredentialStore = {
      ...rest,
      get: (key) => {
        looks += 1
        return get(key)
      },
    }
    const variant = sessionVariants[2]!
    const first = await signedIn({ storage, variant })
    const { provider, browser } = first
    const second = await signedIn({ storage, variant, provider, signIn: false })
    clock.advance(HOUR)
    lose(provider, afterEffect({ destroy: true }))
    expect((await browser.xhr(`${first.url}/profile`)).status).toBe(503)
    clock.advance(30 * SECOND - 1)
    const page = browser.xhr(`${second.url}/profile`)
    // It has to see the attempt twice, some time apart: it cannot know what its owner is doing.
    const before = looks
    await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 2))
    clock.advance(SECOND)
    await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 4))
    expect(first.refreshes()).toBe(1)
    clock.advance(SECOND)
    expect((await page).status).toBe(200)
    expect(first.refreshes()).toBe(2)
  })
})

describe('what an answer brings', () => {
  test('a new refresh token is stored before the request goes on', async () => {
    const { browser, url, provider } = await signedIn({
      prepare: (p) => {
        p.refreshTokenPolicy = 'rotate'
      },
    })
    clock.advance(HOUR)
    const stored = (await browser.xhr(`${url}/refreshed`)).json()
    const issued = provider.secrets().filter((secret) => secret.startsWith('rt-canary'))
    expect(issued).toHaveLength(2)
    expect(stored.tokens.refreshToken).toBe(issued[1])
  })

  test.each([
    ['with a line break', 'at\r\nx-injected: 1'],
    ['of 100 kB', 'a'.repeat(100_000)],
    ['that is empty', ''],
    ['with a space', 'a b'],
    ['that is no text', 5],
    ['that is absent', undefined],
  ])('an access token %s is refused, and the new refresh token beside it is not lost', async (_name, access_token) => {
    const { browser, url, provider, record, refreshes } = await signedIn()
    const before = await record()
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token, token_type: 'Bearer', expires_in: 3600, refresh_token: 'rt-next' } })
    expect(codeOf(await browser.xhr(`${url}/api`))).toEqual(DOWN)
    expect(provider.count('api')).toBe(0)
    expect((await record())?.tokens).toEqual({ ...before?.tokens, refreshToken: 'rt-next' })
    provider.tokenAnswer = async () => ({ body: { access_token: 'at-next', token_type: 'Bearer', expires_in: 3600 } })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect([refreshes(), provider.requests.at(-1)?.params.refresh_token]).toEqual([2, 'rt-next'])
  })

  test.each([
    ['another token type', { token_type: 'mac' }],
    ['no token type', { token_type: undefined }],
    ['a lifetime below zero', { expires_in: -1 }],
    ['a lifetime that is no number', { expires_in: 'soon' }],
  ])('%s: not usable, and nothing changes', async (_name, change) => {
    const { browser, url, provider, record } = await signedIn({ rotation: 'none' })
    const before = await record()
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token: 'at', token_type: 'Bearer', expires_in: 3600, ...change } })
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    expect(await record()).toEqual(before)
  })

  test.each([
    [3600, HOUR],
    ['3600', HOUR],
    [3599.9, 3599 * SECOND],
    [0, 0],
    [1e18, 10 * 365 * 86_400 * SECOND],
    [undefined, undefined],
  ])('expires_in %j', async (expires_in, lifetime) => {
    const { browser, url, provider, record } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token: 'at', token_type: 'bearer', expires_in } })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect((await record())?.tokens.expiresAt).toBe(lifetime === undefined ? undefined : clock.now() + lifetime)
    if (lifetime !== undefined) return
    // Lasts until an API says no.
    clock.advance(100 * HOUR)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  })

  test.each([
    ['absent: as before', undefined, ['openid', 'email', 'files.read']],
    ['narrower', 'openid email', ['openid', 'email']],
    ['without openid, which was proven once', 'email files.read', ['email', 'files.read', 'openid']],
    ['wider', 'openid email files.read calendar.read', ['openid', 'email', 'files.read', 'calendar.read']],
    ['with commas', 'openid,email', ['openid', 'email']],
    ['empty', '', ['openid']],
  ])('J4: scope %s', async (_name, scope, expected) => {
    const { browser, url, provider, record } = await signedIn()
    await browser.goto(`${url}/files`)
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token: 'at', token_type: 'Bearer', expires_in: 3600, scope } })
    const page = await browser.xhr(`${url}/files`)
    expect(page.status).toBe(expected.includes('files.read') && expected.includes('email') ? 200 : 403)
    expect((await record())?.tokens.scopes).toEqual(expected)
  })

  test('an ID token of somebody else ends the grant, and nothing of it is used', async () => {
    const { browser, url, provider, record, changes } = await signedIn()
    const before = await record()
    clock.advance(HOUR)
    provider.idTokenClaims = (claims) => ({ ...claims, sub: 'sub-mallory', email: 'mallory@example.com' })
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(await record()).toEqual({ ...before, dead: 'identity_changed' })
    expect(changes.at(-1)).toMatchObject({ change: 'needs_reauthorization' })
  })

  test('an ID token that is not what it should be is not believed', async () => {
    const { browser, url, provider, record } = await signedIn({ rotation: 'none' })
    const before = await record()
    clock.advance(HOUR)
    provider.idTokenClaims = (claims) => ({ ...claims, aud: 'another-client' })
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    expect(await record()).toEqual(before)
  })

  test('no ID token: the identity stays', async () => {
    const { browser, url, provider } = await signedIn()
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token: 'at', token_type: 'Bearer', expires_in: 3600 } })
    expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({
      user: 'sub-alice',
      email: 'alice@example.com',
      claims: { sub: 'sub-alice' },
    })
  })
})

describe('what happens while a refresh is under way', () => {
  test.each(['always', 'rotate'] as const)(
    'J11: revoked: it stays revoked, and what arrives is revoked too (%s)',
    async (policy) => {
      const { browser, url, provider, record, changes } = await signedIn({
        prepare: (p) => {
          p.refreshTokenPolicy = policy
        },
      })
      const before = await record()
      clock.advance(HOUR)
      const gate = holdRefreshes(provider)
      const refreshing = browser.xhr(`${url}/profile`)
      await gate.arrived()
      expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({
        local: true,
        remote: 'revoked',
      })
      gate.release()
      expect(codeOf(await refreshing)).toEqual(NEEDED)
      expect(await record()).toBeUndefined()
      const revoked = provider.requests
        .filter(({ endpoint }) => endpoint === 'revoke')
        .map(({ params }) => params.token)
      const received = provider.secrets().findLast((s) => s.startsWith(policy === 'rotate' ? 'rt-canary' : 'at-canary'))
      expect(revoked).toEqual([before?.tokens.refreshToken, received])
      expect(changes.map(({ change }) => change)).toEqual(['authorized', 'revoked'])
    },
  )

  test('J5: a sign-in with a refresh token of its own wins', async () => {
    const { browser, url, provider, record } = await signedIn()
    clock.advance(HOUR)
    const gate = holdRefreshes(provider)
    const refreshing = browser.xhr(`${url}/profile`)
    await gate.arrived()
    await browser.goto(`${url}/oauth2authorize?return_url=/profile`)
    const after = await record()
    gate.release()
    expect((await refreshing).status).toBe(200)
    expect(await record()).toEqual(after)
    expect((await browser.xhr(`${url}/api`)).status).toBe(200)
  })

  test('a grant without a refresh token of its own is not undone', async () => {
    const { browser, url, provider, record } = await signedIn({
      prepare: (p) => {
        p.refreshTokenPolicy = 'first'
      },
    })
    const before = await record()
    clock.advance(HOUR - 30 * SECOND)
    const gate = holdRefreshes(provider)
    // This token still works: its owner does not wait for the answer.
    await browser.xhr(`${url}/profile`)
    expect(gate.waiting).toBe(1)
    expect((await browser.goto(`${url}/files`)).status).toBe(200)
    const granted = await record()
    expect(granted?.tokens).toMatchObject({
      refreshToken: before?.tokens.refreshToken,
      scopes: expect.arrayContaining(['files.read']),
    })
    gate.release()
    await vi.waitFor(async () => expect((await record())?.attempt).toBeUndefined())
    expect((await record())?.tokens).toEqual(granted?.tokens)
    expect((await browser.xhr(`${url}/files`)).status).toBe(200)
  })

  test('what a sign-in found out about the person is kept', async () => {
    const { browser, url, provider, record } = await signedIn()
    await browser.goto(`${url}/files`)
    clock.advance(HOUR - 30 * SECOND)
    const gate = new Gate()
    provider.tokenAnswer = async ({ grant_type }) => {
      if (grant_type !== 'refresh_token') return undefined
      await gate.pass()
      return { body: { access_token: 'at-next', token_type: 'Bearer', expires_in: 3600 } }
    }
    await browser.xhr(`${url}/profile`)
    // Grants less than before, so that only who it is counts; the tokens stay.
    provider.idTokenClaims = (claims) => ({ ...claims, email: 'new@example.com' })
    provider.grant = () => ['openid', 'email']
    const other = await new Browser().goto(`${url}/profile`)
    expect(other.json()).toMatchObject({ email: 'new@example.com' })
    gate.release()
    await vi.waitFor(async () => expect((await record())?.tokens.accessToken).toBe('at-next'))
    expect(await record()).toMatchObject({
      email: 'new@example.com',
      tokens: { scopes: expect.arrayContaining(['files.read']) },
    })
  })

  test('J2: two apps on one store make one refresh', async () => {
    const storage = memoryStore({ clock: clock.now })
    const variant = sessionVariants[2]!
    const first = await signedIn({ storage, variant })
    const second = await signedIn({ storage, variant, provider: first.provider, signIn: false })
    clock.advance(HOUR)
    const gate = holdRefreshes(first.provider)
    const pages = [first, second, first, second].map(({ url }) => first.browser.xhr(`${url}/profile`))
    await gate.arrived()
    gate.release()
    expect((await Promise.all(pages)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(first.refreshes()).toBe(1)
  })

  test('only whoever made the attempt may call the grant dead', async () => {
    const { app, browser, url, provider, record } = await signedIn()
    clock.advance(HOUR)
    const gate = new Gate()
    provider.tokenAnswer = async ({ grant_type }) => {
      if (grant_type !== 'refresh_token') return undefined
      await gate.pass()
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    const refreshing = browser.xhr(`${url}/profile`)
    await gate.arrived()
    // Another process took over, as it may after a while.
    const vault = app.oauth2[kClient].manager.vaultOf('sub-alice')
    const { record: current, generation } = (await vault.read())!
    const account = current.accounts[0]!
    const taken = { ...account, attempt: { ...account.attempt!, id: 'of-the-other-process' } }
    await vault.write({ ...current, accounts: [taken] }, generation)
    // By then nobody waits for the other process any more.
    clock.advance(13 * SECOND)
    gate.release()
    expect(codeOf(await refreshing)).toEqual(DOWN)
    expect(await record()).toEqual(taken)
  })

  test('J5: a refusal of a refresh token that was replaced meanwhile is nobody’s end', async () => {
    const { browser, url, provider, record } = await signedIn()
    clock.advance(HOUR)
    const gate = new Gate()
    provider.tokenAnswer = async ({ grant_type }) => {
      if (grant_type !== 'refresh_token') return undefined
      await gate.pass()
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    const refreshing = browser.xhr(`${url}/profile`)
    await gate.arrived()
    await browser.goto(`${url}/oauth2authorize?return_url=/profile`)
    const after = await record()
    gate.release()
    expect((await refreshing).status).toBe(200)
    expect(await record()).toEqual(after)
  })

  test('close() does not wait for what another process is doing', async () => {
    const { get, ...rest } = memoryStore({ clock: clock.now })
    let looks = 0
    const storage: CredentialStore = {
      ...rest,
      get: (key) => {
        looks += 1
        return get(key)
      },
    }
    const { app, browser, url } = await signedIn({ storage })
    const vault = app.oauth2[kClient].manager.vaultOf('sub-alice')
    const { record, generation } = (await vault.read())!
    const account = { ...record.accounts[0]!, attempt: { id: 'of-the-other-process', hash: 'of its token' } }
    await vault.write({ ...record, accounts: [account] }, generation)
    clock.advance(HOUR)
    const waiting = browser.xhr(`${url}/profile`)
    looks = 0
    await vi.waitFor(() => expect(looks).toBeGreaterThan(2))
    const started = performance.now()
    await Promise.all([waiting.catch(() => {}), app.close()])
    expect(performance.now() - started).toBeLessThan(5 * SECOND)
  })

  test('close() waits for it, and what it brought is stored', async () => {
    const { app, browser, url, provider, map } = await signedIn()
    clock.advance(HOUR)
    const gate = holdRefreshes(provider)
    const gone = new AbortController()
    const request = browser.xhr(`${url}/profile`, { signal: gone.signal })
    await gate.arrived()
    gone.abort()
    await expect(request).rejects.toThrow()
    let closed = false
    const closing = app.close().then(() => {
      closed = true
    })
    for (let i = 0; i < 20; i += 1) await turn()
    expect(closed).toBe(false)
    const before = [...map.values()].map(({ generation }) => generation)
    gate.release()
    await closing
    expect([...map.values()].map(({ generation }) => generation)).not.toEqual(before)
    expect(await recordOf(app)).not.toHaveProperty('attempt')
  })

  test('whoever asked may go away: it goes on for the others', async () => {
    const { browser, url, provider, refreshes } = await signedIn()
    clock.advance(HOUR)
    const gate = holdRefreshes(provider)
    const gone = new AbortController()
    const first = browser.xhr(`${url}/profile`, { signal: gone.signal })
    await gate.arrived()
    const second = browser.xhr(`${url}/profile`)
    gone.abort()
    await expect(first).rejects.toThrow()
    gate.release()
    expect((await second).status).toBe(200)
    expect(refreshes()).toBe(1)
  })
})

describe('the store', () => {
  test('without locks and without ages, everything is the same', async () => {
    const { get, put, delete: remove } = memoryStore()
    const storage: CredentialStore = {
      shared: false,
      get: async (key) => {
        const { age: _, ...stored } = (await get(key)) ?? {}
        return 'value' in stored ? (stored as never) : undefined
      },
      put,
      delete: remove,
    }
    const { browser, url, provider, refreshes } = await signedIn({ storage })
    clock.advance(HOUR)
    const gate = holdRefreshes(provider)
    const pages = Array.from({ length: 10 }, () => browser.xhr(`${url}/profile`))
    await gate.arrived()
    gate.release()
    expect((await Promise.all(pages)).map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(refreshes()).toBe(1)
    clock.advance(HOUR)
    onRefresh(provider, { status: 500, body: {} })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
    clock.advance(29 * SECOND)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(503)
    expect(refreshes()).toBe(2)
    provider.tokenAnswer = undefined
    clock.advance(2 * SECOND)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  })

  test.each([
    ['client', { clientId: 'staging' }],
    ['issuer', {}],
  ])('of another %s: nothing is sent, nothing is changed', async (what, client) => {
    const encryptionKeys = 'a key that both of them have, long enough'
    const storage = memoryStore({ clock: clock.now })
    const options = { storage, variant: sessionVariants[2]!, signIn: false } as const
    const production = await signedIn({ ...options, client: { encryptionKeys, userKey: () => 'alice' } })
    await production.browser.goto(`${production.url}/profile`)
    const stored = await storage.get('user/oauth2/alice')
    const other = what === 'client' ? production.provider : undefined
    const staging = await signedIn({
      ...options,
      ...(other ? { provider: other } : {}),
      client: { encryptionKeys, userKey: () => 'alice', ...client },
    })
    clock.advance(HOUR)
    const { length } = staging.provider.requests
    expect(codeOf(await staging.browser.goto(`${staging.url}/api`))).toEqual([503, 'FST_OAUTH2_CLIENT_MISMATCH'])
    expect(codeOf(await staging.browser.xhr(`${staging.url}/revoke`, { method: 'POST' }))).toEqual([
      503,
      'FST_OAUTH2_CLIENT_MISMATCH',
    ])
    expect(staging.provider.requests).toHaveLength(length)
    expect(await storage.get('user/oauth2/alice')).toMatchObject({
      value: stored?.value,
      generation: stored?.generation,
    })
  })

  test('J10: sees nothing in clear, at no stage', async () => {
    const written: string[] = []
    const { put, ...rest } = memoryStore({ clock: clock.now })
    const storage: CredentialStore = {
      ...rest,
      put: (key, value, expected) => {
        written.push(key, value, ...value.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1')))
        return put(key, value, expected)
      },
    }
    const { browser, url, provider, logs } = await signedIn({ storage })
    clock.advance(HOUR)
    await browser.goto(`${url}/api`)
    clock.advance(HOUR)
    onRefresh(provider, { status: 500, body: {} })
    await browser.goto(`${url}/api`)
    expect(written.length).toBeGreaterThan(8)
    const text = written.join('\n')
    for (const secret of provider.secrets()) {
      expect(text).not.toContain(secret)
      expect(logs.text()).not.toContain(secret)
    }
    expect(text).not.toContain('alice@example.com')
  })
})
