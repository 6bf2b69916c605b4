/** Habits of servers that are honest and not as the specifications write it, each by what it does and not by who does it. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { fakeClock } from '../helpers/clock.js'
import type { Answer, DefaultAnswer, Script, ScriptedProvider } from '../helpers/scripted-provider.js'
import { answer } from '../routes/flow.js'

const HOUR = 3_600_000
const NEEDED = [401, 'FST_OAUTH2_CREDENTIALS_REQUIRED']
const REFUSED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']

type Habit = (provider: ScriptedProvider) => void
type Client = (provider: ScriptedProvider) => Partial<OAuth2ClientOptions>

async function appOf(habit: Habit = () => {}, client: Client = () => ({})): Promise<TestApp> {
  // Both clocks move together: what has to rest for a while is rested.
  const clock = fakeClock()
  const [start, real] = [clock.now(), performance.now.bind(performance)]
  vi.spyOn(performance, 'now').mockImplementation(() => real() + clock.now() - start)
  onTestFinished(() => void vi.restoreAllMocks())
  const app = await startApp({ storage: memoryStore({ clock: clock.now }), clock, client })
  habit(app.provider)
  return app
}

const visit = ({ browser, url }: TestApp) => browser.xhr(`${url}/profile`)

/** In, and on over three lives of an access token. */
async function live(app: TestApp): Promise<void> {
  const { browser, url, provider, clock } = app
  const page = await browser.goto(`${url}/profile`)
  expect([page.status, page.json().user], page.body).toEqual([200, 'sub-alice'])
  expect(page.json().scopes.toSorted()).toEqual(['email', 'openid'])
  for (let i = 1; i <= 3; i++) {
    clock.advance(HOUR)
    expect((await visit(app)).json()).toMatchObject({ user: 'sub-alice', scopes: page.json().scopes })
    expect(provider.count('token', 'refresh_token')).toBe(i)
  }
}

/** Every answer of every endpoint that is asked by us. */
const everywhere =
  (change: (answer: DefaultAnswer) => Answer): Habit =>
  (provider) => {
    const script: Script = async (_params, defaults) => change(await defaults())
    for (const name of ['discovery', 'jwks', 'token', 'userinfo', 'revoke'] as const) provider[`${name}Answer`] = script
  }
const encoded = (encoding: string, encode: (text: string) => Buffer) =>
  everywhere(({ status = 200, body }) => ({
    status,
    headers: { 'content-type': 'application/json', 'content-encoding': encoding },
    body: encode(JSON.stringify(body)),
  }))
const withHeaders = (headers: Record<string, string>) => everywhere((usual) => ({ ...usual, headers }))
const says =
  (change: (body: Record<string, unknown>) => object): Habit =>
  (provider) => {
    provider.tokenAnswer = async (_params, defaults) => {
      const { body, ...usual } = await defaults()
      return { ...usual, body: { ...body, ...change(body) } }
    }
  }
const publishes =
  (change: (keys: JWK[]) => unknown[]): Habit =>
  (provider) => {
    provider.jwksAnswer = async (_params, defaults) => ({
      body: { keys: change((await defaults()).body.keys as JWK[]) },
    })
  }

const { publicKey } = await generateKeyPair('RS256')
const OTHER = await exportJWK(publicKey)
const CERTIFICATE_ONLY = { kty: 'RSA', use: 'sig', x5c: ['MIIB'], x5t: 'x' }
const UNKNOWN = [
  { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA', kid: 'a' },
  { kty: 'new', kid: 'b' },
  { kty: 'OKP', crv: 'X25519', x: 'AAAA', kid: 'c' },
  { kty: 'EC', crv: 'secp256k1', x: 'AAAA', y: 'AAAA', kid: 'd' },
  { kty: 'oct', k: 'AAAA', kid: 'e' },
]
const nameless: Habit = (provider) => {
  provider.signIdToken = (payload) => provider.sign(payload, { kid: undefined as never })
}

describe('answers are understood', () => {
  test.each<[string, Habit]>([
    ['gzip', encoded('gzip', gzipSync)],
    ['gzip by its old name', encoded('x-gzip', gzipSync)],
    ['brotli', encoded('br', brotliCompressSync)],
    ['deflate', encoded('deflate', deflateSync)],
    ['deflate without its header', encoded('deflate', deflateRawSync)],
    ['in chunks', withHeaders({ 'transfer-encoding': 'chunked' })],
    ['a connection for each', withHeaders({ connection: 'close' })],
    ['a content type in capitals', withHeaders({ 'content-type': 'APPLICATION/JSON;Charset="UTF-8"' })],
    [
      'a byte order mark',
      everywhere(({ body, ...usual }) => ({
        ...usual,
        headers: { 'content-type': 'application/json; charset=utf-8' },
        body: `\u{feff}${JSON.stringify(body)}`,
      })),
    ],
    [
      'JSON with room around it',
      everywhere(({ body, ...usual }) => ({
        ...usual,
        headers: { 'content-type': 'application/json' },
        body: `\r\n ${JSON.stringify(body, null, 2)}\r\n\r\n`,
      })),
    ],
    [
      'members that nobody asked for',
      says(() => ({
        created_at: 1_700_000_000,
        trace_id: 'x',
        session_state: 'x',
        'not-before-policy': 0,
        refresh_expires_in: 0,
        ext_expires_in: '3600',
        authorization_details: [],
        user: { id: 7 },
        error: null,
        error_description: null,
      })),
    ],
    ['the type of the token in small letters', says(() => ({ token_type: 'bearer' }))],
    ['a lifetime as a text', says(() => ({ expires_in: '3600' }))],
    ['a lifetime with a fraction', says(() => ({ expires_in: 3600.5 }))],
    ['scopes twice, and with spaces around them', says(() => ({ scope: '  email openid  email ' }))],
    ['no scopes', says(() => ({ scope: undefined }))],
    ['what is not there as null', says(({ id_token = null, refresh_token = null }) => ({ id_token, refresh_token }))],
    ['what is not there as null, with scopes', says(({ refresh_token = null }) => ({ refresh_token, scope: null }))],
    [
      'the same refresh token, which is sent back',
      (provider) => {
        provider.tokenAnswer = async ({ refresh_token }, defaults) => {
          const { body } = await defaults()
          return { body: { ...body, ...(refresh_token ? { refresh_token } : {}) } }
        }
      },
    ],
    ['keys of kinds that are not known', publishes((keys) => [...UNKNOWN, ...keys])],
    [
      'keys to encrypt with, of the same name',
      publishes((keys) => [...keys.map(({ kid }) => ({ ...OTHER, kid, use: 'enc', alg: 'RSA-OAEP' })), ...keys]),
    ],
    ['two keys of one name', publishes((keys) => [...keys.map(({ kid }) => ({ ...OTHER, kid, use: 'sig' })), ...keys])],
    ['keys without alg and use', publishes((keys) => keys.map(({ alg: _, use: __, ...key }) => key))],
    [
      'keys that are a certificate only, among others',
      publishes((keys) => [CERTIFICATE_ONLY, ...keys.map(({ kid }) => ({ ...CERTIFICATE_ONLY, kid })), ...keys]),
    ],
    [
      'no names, neither of keys nor in tokens',
      (provider) => {
        publishes((keys) => [OTHER, CERTIFICATE_ONLY, ...UNKNOWN, ...keys.map(({ kid: _, ...key }) => key)])(provider)
        nameless(provider)
      },
    ],
  ])('%s', async (_name, habit) => live(await appOf(habit)))
})

describe('a refusal is understood, however it is said', () => {
  const refusal = (more: object = {}) => ({ error: 'invalid_grant', ...more })
  const words = {
    error_hint: 'x',
    error_debug: 'y',
    trace_id: 'z',
    error_codes: [70_000],
    timestamp: 'now',
    status: 400,
  }
  const text = { 'content-type': 'text/plain' }
  test.each<[string, Answer, readonly unknown[]]>([
    ['with 401', { status: 401, body: refusal() }, NEEDED],
    [
      'with 401 and a challenge that speaks of something else',
      { status: 401, headers: { 'www-authenticate': 'Basic realm="clients"' }, body: refusal() },
      NEEDED,
    ],
    ['with more members', { status: 400, body: refusal(words) }, NEEDED],
    ['as text that is JSON', { status: 400, headers: text, body: JSON.stringify(refusal()) }, NEEDED],
    ['as text that is none: nothing is lost', { status: 400, headers: text, body: 'invalid_grant' }, REFUSED],
    [
      'compressed',
      { status: 400, headers: { 'content-encoding': 'gzip' }, body: gzipSync(JSON.stringify(refusal())) },
      NEEDED,
    ],
    ['with a byte order mark', { status: 400, body: `\u{feff}${JSON.stringify(refusal())}` }, NEEDED],
  ])('%s', async (_name, reply, expected) => {
    const app = await appOf()
    await app.browser.goto(`${app.url}/profile`)
    app.clock.advance(HOUR)
    app.provider.tokenAnswer = () => reply
    expect(answer(await visit(app))).toEqual(expected)
    app.provider.tokenAnswer = undefined
    expect((await visit(app)).status).toBe(expected === NEEDED ? 401 : 200)
  })
})

describe('a connection that was kept, and is closed by the server at the very moment that it is used again', () => {
  /** As if it had never come: nothing has an effect. */
  const closes: Script = () => ({ destroy: true })

  test('a refresh: served while the access token lasts, and made up for later with the same token', async () => {
    const app = await appOf((provider) => {
      provider.refreshTokenPolicy = 'rotate'
    })
    const { browser, url, provider, clock } = app
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR - 20_000)
    provider.tokenAnswer = closes
    expect((await visit(app)).status).toBe(200)
    clock.advance(20_000)
    provider.tokenAnswer = undefined
    // Another look, to be sure that it is not another process that is slow.
    for (let i = 0; i < 3; i++) {
      await visit(app)
      clock.advance(31_000)
    }
    expect((await visit(app)).json().user).toBe('sub-alice')
    expect(provider.count('authorize')).toBe(1)
  })

  test('a code: nobody is signed in by it, and the next try is', async () => {
    const app = await appOf()
    const { browser, url, provider } = app
    provider.tokenAnswer = closes
    const page = await browser.goto(`${url}/profile`)
    expect(answer(page)).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
    provider.tokenAnswer = undefined
    const again = /class="way" href="([^"]+)"/.exec(page.body)?.[1]?.replaceAll('&#38;', '&')
    expect((await browser.goto(url + again)).json().user).toBe('sub-alice')
    expect(provider.count('token', 'authorization_code')).toBe(2)
  })
})

describe('refresh tokens that are good for once, and for seconds more', () => {
  /** Each new answer is lost, and given again to whoever comes with the same token. */
  const lost: Habit = (provider) => {
    let last: { token: string; answer: Answer } | undefined
    provider.refreshTokenPolicy = 'rotate'
    provider.tokenAnswer = async ({ refresh_token: token }, defaults) => {
      if (token === undefined) return undefined
      if (last?.token === token) return last.answer
      last = { token, answer: await defaults() }
      return { destroy: true }
    }
  }

  test('where the provider says so, a lost answer is asked for again at once', async () => {
    const app = await appOf(lost, ({ issuer }) => ({
      provider: { issuer, refresh: { rotation: 'rotating', grace: 30 } },
    }))
    await app.browser.goto(`${app.url}/profile`)
    for (let i = 0; i < 2; i++) {
      app.clock.advance(HOUR)
      await visit(app)
      expect((await visit(app)).status).toBe(200)
    }
    expect(app.provider.count('authorize')).toBe(1)
  })

  test('where nobody does, not before the access token is over; what is lost then is one sign-in', async () => {
    const app = await appOf(lost)
    const { browser, url, provider, clock } = app
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR - 20_000)
    for (let i = 0; i < 5; i++) expect((await visit(app)).status).toBe(200)
    expect(provider.count('token', 'refresh_token')).toBe(1)
    provider.tokenAnswer = undefined
    for (let i = 0; i < 4; i++) {
      clock.advance(31_000)
      await visit(app)
    }
    expect(answer(await visit(app))).toEqual(NEEDED)
    expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-alice')
  })
})
