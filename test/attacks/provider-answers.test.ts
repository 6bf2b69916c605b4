/** Answers of a provider that is broken or hostile: nothing is believed, nothing is lost, and it costs little. */
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  deviceAuthorization,
  introspectToken,
  Provider,
  refreshTokenGrant,
  revokeToken,
  verifyIdToken,
} from '../../src/flows/index.js'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { ATTACKS, bytes, type EvilProvider, flood, startEvilProvider } from '../helpers/evil-provider.js'
import type { Answer, ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { answer, back, begin, flowCookies } from '../routes/flow.js'

const HOUR = 3_600_000
/** Milliseconds for one call to a provider; one that is honest is a good deal faster. */
const TIMEOUT = 3_000
const MB = 1024 * 1024

/** Both clocks move together: what has to rest for a while is rested. */
let clock: FakeClock
beforeEach(() => {
  clock = fakeClock()
  const start = clock.now()
  const real = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => real() + clock.now() - start)
})
afterEach(() => vi.restoreAllMocks())

const UNUSABLE = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
const DOWN = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
const NEEDED = [401, 'FST_OAUTH2_CREDENTIALS_REQUIRED']

interface Setup extends TestAppOptions {
  readonly rotation?: 'none' | 'rotating' | 'strict'
}

async function evilApp({ rotation = 'none', ...options }: Setup = {}): Promise<TestApp & { evil: EvilProvider }> {
  const evil = await startEvilProvider()
  const provider = evil.scripted
  const app = await startApp({
    storage: memoryStore({ clock: clock.now }),
    ...options,
    provider,
    clock,
    client: {
      provider: { issuer: provider.issuer, refresh: { rotation } },
      timeout: TIMEOUT,
      ...(typeof options.client === 'function' ? options.client(provider) : options.client),
    },
  })
  return { ...app, evil }
}

const recordOf = async ({ app }: TestApp) =>
  (await app.oauth2[kClient].manager.vaultOf('sub-alice').read())?.record.accounts[0]

/** How long it took, in real time. */
async function timed<T>(run: () => Promise<T>): Promise<[T, number]> {
  const start = Date.now()
  return [await run(), Date.now() - start]
}

const onRefresh = (provider: ScriptedProvider, reply: Answer | undefined) => {
  provider.tokenAnswer = reply && (({ grant_type }) => (grant_type === 'refresh_token' ? reply : undefined))
}

const quiet = (page: { body: string }, app: TestApp) => {
  expect(page.body).not.toContain('canary')
  expect(app.logs.text()).not.toContain('canary')
  expect(page.body).not.toMatch(/\bat .*\.[jt]s:\d/)
}

describe('H1 H3 H4 H5 H13 H17 down to the bytes', () => {
  test('the code exchange: a 502 or 503 in time, nobody is signed in or out, and the next one works', async () => {
    const app = await evilApp()
    const { browser, url, evil } = app
    await browser.goto(`${url}/profile`)
    const before = await recordOf(app)
    const memory = process.memoryUsage().rss
    for (const [name, attack] of Object.entries(ATTACKS)) {
      evil.attacks.token = undefined
      const flow = await begin(app, '/files')
      evil.attacks.token = attack
      const [page, took] = await timed(() => back(app, flow.callback))
      expect([UNUSABLE, DOWN], name).toContainEqual(answer(page))
      expect(took, name).toBeLessThan(2 * TIMEOUT + 3_000)
      expect(flowCookies(browser), name).toEqual([])
      expect(await recordOf(app), name).toEqual(before)
      quiet(page, app)
      browser.deleteCookie('localhost', 'oauth2client.outcome')
      clock.advance(61_000)
    }
    expect(evil.attacked).toBe(Object.keys(ATTACKS).length)
    expect(process.memoryUsage().rss - memory).toBeLessThan(200 * MB)
    evil.attacks.token = undefined
    expect((await browser.goto(`${url}/files`)).status).toBe(200)
  }, 240_000)

  test('a refresh behind a guard: a 502 or 503 in time, nothing is lost, nobody is signed out', async () => {
    const app = await evilApp()
    const { browser, url, evil } = app
    await browser.goto(`${url}/profile`)
    const { refreshToken } = (await recordOf(app))?.tokens ?? {}
    const memory = process.memoryUsage().rss
    for (const [name, attack] of Object.entries(ATTACKS)) {
      clock.advance(HOUR)
      evil.attacks.token = attack
      const [page, took] = await timed(() => browser.xhr(`${url}/profile`))
      expect([UNUSABLE, DOWN], name).toContainEqual(answer(page))
      expect(took, name).toBeLessThan(2 * TIMEOUT + 3_000)
      quiet(page, app)
      evil.attacks.token = undefined
      expect((await browser.xhr(`${url}/profile`)).status, name).toBe(200)
      expect(await recordOf(app), name).toMatchObject({ tokens: { refreshToken } })
    }
    expect(process.memoryUsage().rss - memory).toBeLessThan(200 * MB)
  }, 240_000)

  test('discovery, keys, userinfo, revocation, introspection, device: a coded error or "failed", and in time', async () => {
    const evil = await startEvilProvider()
    const { scripted } = evil
    scripted.introspectAnswer = () => ({ body: { active: true } })
    scripted.deviceAnswer = () => ({ status: 500, body: {} })
    const at = (path: string) => scripted.issuer + path
    const endpoints = {
      authorization_endpoint: at('/authorize'),
      token_endpoint: at('/token'),
      jwks_uri: at('/jwks'),
      revocation_endpoint: at('/revoke'),
      introspection_endpoint: at('/introspect'),
      device_authorization_endpoint: at('/device'),
    }
    const { clientId, issuer } = scripted
    const clientSecret = scripted.clientSecret as string
    // Nothing honest is waited for here.
    const timeout = 500
    const found = () => new Provider({ provider: { issuer }, clientId, clientSecret, timeout })
    const fresh = () => new Provider({ provider: { issuer, ...endpoints }, clientId, clientSecret, timeout })
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: issuer, aud: clientId, sub: 'alice', iat: now, exp: now + 3600 }
    const idToken = await scripted.sign(claims)
    const known = fresh()
    const memory = process.memoryUsage().rss
    const failing = async (use: Promise<unknown>) => {
      const error = await use.then(
        (value) => expect.fail(`believed: ${inspect(value)}`),
        (reason) => reason,
      )
      expect(inspect(error, { depth: 9 })).not.toContain('canary')
      return error.code ?? error.name
    }
    const uses = {
      discovery: async () => failing(found().configuration()),
      jwks: async () => failing(verifyIdToken(fresh(), idToken)),
      revoke: async () => revokeToken(known, 'rt-of-the-test'),
      introspect: async () => failing(introspectToken(known, 'at-of-the-test')),
      device: async () => failing(deviceAuthorization(known)),
    } as const
    for (const [endpoint, use] of Object.entries(uses)) {
      for (const [name, attack] of Object.entries(ATTACKS)) {
        evil.attacks[endpoint as keyof typeof uses] = attack
        const [outcome, took] = await timed(use)
        const expected =
          endpoint === 'revoke'
            ? // RFC 7009 section 2.2: whatever the body is, it is the status that counts.
              /^(revoked|failed)$/
            : endpoint === 'discovery' || endpoint === 'jwks'
              ? /^(FST_OAUTH2_PROVIDER_UNAVAILABLE|FST_OAUTH2_ID_TOKEN_INVALID)$/
              : /^ProviderFailure$/
        expect(outcome, `${endpoint}: ${name}`).toMatch(expected)
        expect(took, `${endpoint}: ${name}`).toBeLessThan(2 * timeout + 3_000)
        evil.attacks[endpoint as keyof typeof uses] = undefined
      }
    }
    expect(process.memoryUsage().rss - memory).toBeLessThan(200 * MB)
  }, 240_000)

  test('I3 userinfo that is attacked costs the address and not the sign-in', async () => {
    const app = await evilApp()
    const { url, evil, provider } = app
    provider.idTokenClaims = ({ email: _, ...claims }) => claims
    for (const name of ['a reset at once', 'no answer', '200 MB', '100 MB in a small gzip', 'half JSON', 'a page']) {
      evil.attacks.userinfo = ATTACKS[name] as never
      const page = await new Browser().goto(`${url}/profile`)
      expect([page.status, page.json().user, page.json().email], name).toEqual([200, 'sub-alice', null])
    }
  }, 60_000)

  test('H4 of 200 MB no more is read than the limit and what is on the way', async () => {
    const evil = await startEvilProvider()
    const { issuer, clientId } = evil.scripted
    const provider = new Provider({ provider: { issuer }, clientId, clientSecret: 'secret' })
    let sent = 0
    evil.attacks.token = flood('HTTP/1.1 200 OK\r\n\r\n{"x":"', 200 * MB, (size) => {
      sent += size
    })
    await expect(refreshTokenGrant(provider, 'rt')).rejects.toMatchObject({
      kind: 'unusable',
      message: expect.stringContaining('more than 1048576 bytes'),
    })
    expect(sent).toBeLessThan(40 * MB)
  }, 30_000)
})

describe('H13 JSON that is odd, and still JSON', () => {
  const good = '"access_token":"at-next","token_type":"Bearer","expires_in":3600'
  test.each([
    ['duplicate members: the last counts', `{"access_token":"at-first",${good}}`, ''],
    ['__proto__', `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},${good}}`, ''],
    ['a byte order mark', `\uFEFF{${good}}`, ''],
    ['text/html', `{${good}}`, 'content-type: text/html\r\n'],
    ['white space around it', `\r\n\t {${good}} \n`, ''],
    [
      'H15 members that nobody asked for',
      `{${good},"expires_at":1,"created_at":1,"iat":1,"exp":1,"user":{"id":5},"ok":false}`,
      '',
    ],
    [
      'null where something is left out',
      `{${good},"refresh_token":null,"scope":null,"id_token":null,"error":null}`,
      '',
    ],
  ])(
    '%s',
    async (_name, body, headers) => {
      const app = await evilApp()
      const { browser, url, evil } = app
      await browser.goto(`${url}/profile`)
      const before = await recordOf(app)
      clock.advance(HOUR)
      evil.attacks.token = bytes(body, headers)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
      const after = await recordOf(app)
      expect(after?.tokens).toMatchObject({
        accessToken: 'at-next',
        refreshToken: before?.tokens.refreshToken,
        expiresAt: clock.now() + HOUR,
        scopes: before?.tokens.scopes,
      })
      expect(Object.keys(after?.claims ?? {})).toEqual(Object.keys(before?.claims ?? {}))
    },
    30_000,
  )
})

describe('H12 only what says invalid_grant, and means it, ends a grant', () => {
  const challenge = (error: string) => ({ 'www-authenticate': `Basic realm="x", error = "${error}"` })
  const problem = { 'content-type': 'application/problem+json' }
  test.each<[string, Answer, (string | number)[]]>([
    ['400', { status: 400, body: { error: 'invalid_grant', error_hint: 'x', error_debug: 'y' } }, NEEDED],
    ['401 with null members', { status: 401, body: { error: 'invalid_grant', error_description: null } }, NEEDED],
    ['403', { status: 403, body: { error: 'invalid_grant' } }, NEEDED],
    ['200', { body: { error: 'invalid_grant' } }, NEEDED],
    ['problem+json', { status: 400, headers: problem, body: { type: 'about:blank', error: 'invalid_grant' } }, NEEDED],
    ['a challenge and no body', { status: 401, headers: challenge('invalid_grant'), body: '' }, NEEDED],
    ['a challenge and a page', { status: 400, headers: challenge('invalid_grant'), body: '<html>' }, NEEDED],
    [
      'a challenge and an error of another form',
      { status: 401, headers: challenge('invalid_grant'), body: { error: { code: 7 } } },
      NEEDED,
    ],
    ['an empty 400', { status: 400, body: '' }, UNUSABLE],
    ['an empty 401', { status: 401, body: '' }, UNUSABLE],
    ['a page that has the word in it', { status: 400, body: '<p>invalid_grant</p>' }, UNUSABLE],
    [
      'a description that has the word in it',
      { status: 400, body: { error: 'invalid_request', error_description: 'invalid_grant' } },
      UNUSABLE,
    ],
    [
      'problem+json without a code',
      { status: 400, headers: problem, body: { title: 'Bad Request', status: 400 } },
      UNUSABLE,
    ],
    [
      'a redirect that has it in its body',
      { status: 302, headers: { location: '/x' }, body: { error: 'invalid_grant' } },
      UNUSABLE,
    ],
    ['an error of APIs', { status: 401, body: { error: 'invalid_token' } }, UNUSABLE],
    ['H2 500', { status: 500, body: { error: 'invalid_grant' } }, DOWN],
    ['H2 503 with Retry-After', { status: 503, headers: { 'retry-after': '9' }, body: '' }, DOWN],
    ['H2 429', { status: 429, body: { error: 'invalid_grant' } }, DOWN],
  ])(
    '%s',
    async (name, reply, expected) => {
      const app = await evilApp()
      const { browser, url, provider } = app
      await browser.goto(`${url}/profile`)
      clock.advance(HOUR)
      onRefresh(provider, reply)
      const page = await browser.xhr(`${url}/profile`)
      expect(answer(page)).toEqual(expected)
      if (name.includes('Retry-After')) expect(page.headers.get('retry-after')).toBe('9')
      onRefresh(provider, undefined)
      clock.advance(10_000)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(expected === NEEDED ? 401 : 200)
    },
    30_000,
  )

  test('what else a provider calls it is data: errors', async () => {
    const app = await evilApp({
      client: ({ issuer }) => ({ provider: { issuer, errors: { invalid_token: 'invalid_grant' } } }),
    })
    await app.browser.goto(`${app.url}/profile`)
    clock.advance(HOUR)
    onRefresh(app.provider, { status: 401, body: { error: 'invalid_token' } })
    expect(answer(await app.browser.xhr(`${app.url}/profile`))).toEqual(NEEDED)
  })
})

test('H5 a redirect of the token endpoint: neither secret nor code nor refresh token go anywhere else', async () => {
  const app = await evilApp()
  const { browser, url, provider } = app
  await browser.goto(`${url}/profile`)
  for (const status of [301, 302, 303, 307, 308]) {
    const { callback } = await begin(app, '/files')
    provider.tokenAnswer = () => ({ status, headers: { location: `${provider.issuer}/elsewhere` } })
    expect(answer(await back(app, callback))).toEqual(UNUSABLE)
    clock.advance(HOUR)
    expect(answer(await browser.xhr(`${url}/profile`))).toEqual(UNUSABLE)
    provider.tokenAnswer = undefined
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  }
  expect(provider.count('unknown')).toBe(0)
}, 30_000)

test('a success that is not 200 may have used the refresh token up: what it brought is kept, and it is not sent again', async () => {
  const app = await evilApp({ rotation: 'strict' })
  const { browser, url, provider } = app
  await browser.goto(`${url}/profile`)
  clock.advance(HOUR)
  const body = { access_token: 'at-next', token_type: 'Bearer', expires_in: 3600, refresh_token: 'rt-next' }
  onRefresh(provider, { status: 201, body })
  expect(answer(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
  expect(await recordOf(app)).toMatchObject({ tokens: { refreshToken: 'rt-next' } })
})

describe('H6 H8 H9 H10 what is wrong with an answer is said to whoever reads the log, without a word of it', () => {
  const usual = { access_token: 'at-canary', token_type: 'Bearer', expires_in: 3600 }
  test.each<[string, object | string, string]>([
    ['H6 no token_type', { ...usual, token_type: undefined }, 'it has no token_type'],
    ['H6 mac', { ...usual, token_type: 'mac' }, 'its token_type is not bearer'],
    ['H6 bot', { ...usual, token_type: 'bot' }, 'its token_type is not bearer'],
    ['H6 DPoP that nobody asked for', { ...usual, token_type: 'DPoP' }, 'its token_type is not bearer'],
    ['H6 a number', { ...usual, token_type: 5 }, 'its token_type is not bearer'],
    ['H7 negative', { ...usual, expires_in: -1 }, 'its expires_in is no number'],
    ['H7 null', { ...usual, expires_in: null }, 'its expires_in is no number'],
    ['H7 soon', { ...usual, expires_in: 'soon' }, 'its expires_in is no number'],
    ['H8 CR LF', { ...usual, access_token: 'canary\r\nx: y' }, 'its access_token is none that fits into a header'],
    ['H8 a space', { ...usual, access_token: 'can ary' }, 'its access_token is none that fits into a header'],
    ['H8 not ASCII', { ...usual, access_token: 'canäry' }, 'its access_token is none that fits into a header'],
    ['H8 100 kB', { ...usual, access_token: 'c'.repeat(100_000) }, 'its access_token is none that fits into a header'],
    ['H1 none', { ...usual, access_token: undefined }, 'it has no access_token'],
    ['H1 an error beside', { ...usual, error: 'No such code' }, 'it has tokens and an error'],
    ['H1 an error that is no text beside', { ...usual, error: {} }, 'it has tokens and an error'],
    ['H1 empty', { ...usual, access_token: '' }, 'its access_token is none that fits into a header'],
    ['H9 empty', { ...usual, refresh_token: '' }, 'its refresh_token is none'],
    ['H9 a number', { ...usual, refresh_token: 5 }, 'its refresh_token is none'],
    ['H10 a list', { ...usual, scope: ['canary'] }, 'its scope is no string'],
    ['H1 a page', '<!doctype html><p>canary', 'the answer is HTML or XML'],
    ['H1 nothing', '', 'the answer is nothing'],
    ['H1 text', 'canary', 'the answer is no JSON'],
    ['H1 half', '{"access_token":"canary', 'the answer is JSON that is broken, or no object'],
    ['H1 a list', '["canary"]', 'the answer is JSON that is broken, or no object'],
  ])(
    '%s',
    async (_name, body, message) => {
      const app = await evilApp()
      const { browser, url, provider } = app
      const { callback } = await begin(app, '/profile')
      provider.tokenAnswer = () => ({ body })
      const page = await back(app, callback)
      expect(answer(page)).toEqual(UNUSABLE)
      expect((await browser.xhr(`${url}/`)).json()).toEqual({ user: null, has: false })
      const { issuer, clientId } = provider
      const failure = refreshTokenGrant(new Provider({ provider: { issuer }, clientId }), 'rt')
      await expect(failure).rejects.toMatchObject({ message: `token request failed: unusable, HTTP 200: ${message}` })
    },
    30_000,
  )

  test('H6 in any case it is a bearer token', async () => {
    const { browser, url, provider } = await evilApp()
    provider.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, token_type: 'bEaReR' } })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })

  test('H6 H10 what a provider leaves out or writes otherwise is data: normalizeTokenResponse', async () => {
    const { browser, url, provider } = await evilApp({
      client: ({ issuer }) => ({
        provider: {
          issuer,
          normalizeTokenResponse: ({ scope, ...body }) => ({
            token_type: 'Bearer',
            ...body,
            scope: Array.isArray(scope) ? scope.join(' ') : scope,
          }),
        },
      }),
    })
    provider.tokenAnswer = async (_params, defaults) => {
      const { token_type: _, ...body } = (await defaults()).body
      return { body: { ...body, scope: ['openid', 'email'] } }
    }
    expect((await browser.goto(`${url}/profile`)).json().scopes).toEqual(['openid', 'email'])
  })
})

describeEachSession((variant) => {
  test('H7 expires_in 0: one refresh for a request, and no loop', async () => {
    const { browser, url, provider } = await evilApp({ variant, storage: 'session' })
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    onRefresh(provider, { body: { access_token: 'at-0', token_type: 'Bearer', expires_in: 0 } })
    for (const refreshes of [1, 2, 3]) {
      const page = await browser.goto(`${url}/profile`)
      expect(page.chain.length).toBeLessThan(8)
      expect(provider.count('token', 'refresh_token')).toBe(refreshes)
    }
  }, 30_000)

  test('H10 a narrower grant: 403 after one attempt, and no loop', async () => {
    const { browser, url, provider } = await evilApp({ variant, storage: 'session' })
    provider.grant = (requested) => requested.filter((scope) => scope !== 'files.read')
    const page = await browser.goto(`${url}/files`)
    expect(page.status).toBe(403)
    expect(provider.count('authorize')).toBe(1)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  }, 30_000)

  test('H10 scopes that are echoed, with commas, or unknown ones dropped', async () => {
    const { url, provider } = await evilApp({ variant, storage: 'session' })
    for (const [scope, status] of [
      ['openid,email,files.read', 200],
      ['files.read  email openid files.read', 200],
      ['', 403],
      [undefined, 200],
      ['openid email files.read and.more', 200],
    ] as const) {
      provider.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, scope } })
      expect((await new Browser().goto(`${url}/files`)).status, String(scope)).toBe(status)
    }
  }, 30_000)

  test('H9 no refresh token: signed in until it expires, then asked again, once', async () => {
    const { browser, url, provider } = await evilApp({ variant, storage: 'session' })
    provider.refreshTokenPolicy = 'never'
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    clock.advance(HOUR)
    expect(answer(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect([provider.count('authorize'), provider.count('token', 'refresh_token')]).toEqual([2, 0])
  }, 30_000)

  test('H11 invalid_client on refresh is our mistake: 500, kept, said once in the log, and never the secret', async () => {
    const app = await evilApp({ variant, storage: 'session' })
    const { browser, url, provider, logs } = app
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    for (const headers of [{}, { 'www-authenticate': 'Basic realm="x"' }] as Record<string, string>[]) {
      onRefresh(provider, { status: 401, headers, body: { error: 'invalid_client' } })
      const page = await browser.xhr(`${url}/profile`)
      expect(answer(page)).toEqual([500, 'FST_OAUTH2_CLIENT_REJECTED'])
      expect(page.body + logs.text()).not.toContain(provider.clientSecret)
    }
    onRefresh(provider, undefined)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  }, 30_000)
})

describe('H11 how the client authenticates', () => {
  const sent = async (
    clientId: string,
    clientSecret: string,
    methods: unknown,
    clientAuthentication?: 'client_secret_basic' | 'client_secret_basic_raw',
  ) => {
    const { scripted } = await startEvilProvider()
    scripted.metadata = (metadata) => ({ ...metadata, token_endpoint_auth_methods_supported: methods })
    const { issuer } = scripted
    const provider = new Provider({ provider: { issuer }, clientId, clientSecret, clientAuthentication })
    await refreshTokenGrant(provider, 'rt').catch(() => {})
    const { headers, params } = scripted.requests.at(-1) as (typeof scripted.requests)[number]
    const basic = headers.authorization?.replace('Basic ', '')
    return basic ? Buffer.from(basic, 'base64').toString() : `post ${params.client_id}:${params.client_secret}`
  }

  test.each<[unknown, string]>([
    [['client_secret_basic'], 'id:secret'],
    [['client_secret_basic', 'private_key_jwt'], 'id:secret'],
    [['client_secret_basic', 'client_secret_post'], 'post id:secret'],
    [undefined, 'post id:secret'],
    [[], 'post id:secret'],
    ['client_secret_basic', 'post id:secret'],
  ])('metadata lists %j', async (methods, expected) => {
    expect(await sent('id', 'secret', methods)).toBe(expected)
  })

  test('what need not be encoded is the same for servers that do not decode', async () => {
    const [id, secret] = ['5f2c-11.app_x', 'GOCSPX-a_b.c*d']
    const sentAs = await sent(id, secret, ['client_secret_basic'])
    expect(sentAs).toBe(`${id}:${secret}`)
    expect(await sent('a:b', 'c+d/e= ~%', ['client_secret_basic'])).toBe('a%3Ab:c%2Bd%2Fe%3D+%7E%25')
    expect(await sent('a', 'c+d/e= ~%', undefined, 'client_secret_basic_raw')).toBe('a:c+d/e= ~%')
  })
})

test('H16 a clock that is five minutes off, and one that jumps: at most one refresh, nobody is signed out', async () => {
  for (const skew of [-300_000, 300_000]) {
    const app = await evilApp()
    const { browser, url, provider } = app
    clock.advance(skew)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    for (const jump of [HOUR, -2 * HOUR, 2 * HOUR]) {
      clock.advance(jump)
      const before = provider.count('token', 'refresh_token')
      const pages = await Promise.all(Array.from({ length: 10 }, () => browser.xhr(`${url}/profile`)))
      expect(pages.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
      expect(provider.count('token', 'refresh_token') - before).toBeLessThanOrEqual(1)
    }
  }
}, 60_000)

test.each([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])(
  'H17 %s: 503 without a stack, nothing in doubt, and it goes on afterwards',
  async (code) => {
    let broken = false
    const app = await evilApp({
      rotation: 'strict',
      client: {
        fetch: async (input, init) => {
          if (!broken) return fetch(input, init)
          throw new TypeError('fetch failed', { cause: Object.assign(new Error('no'), { code }) })
        },
      },
    })
    const { browser, url } = app
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR - 300_000)
    const { callback } = await begin(app, '/files')
    clock.advance(300_000)
    broken = true
    const pages = [await browser.xhr(`${url}/profile`), await back(app, callback)]
    for (const page of pages) {
      expect(answer(page)).toEqual(DOWN)
      quiet(page, app)
    }
    broken = false
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  },
  30_000,
)
