import { SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import oauth2Client, { type CredentialStore, type OAuth2ClientOptions } from '../../src/index.js'
import { google } from '../../src/provider/presets/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'
import { altered, answer, begin, flowCookies, back as follow } from './flow.js'

const STATE_INVALID = [400, 'FST_OAUTH2_STATE_INVALID']
const secureSession = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant

/** Every answer of the callback, whatever it says, is for one browser and one moment. */
async function back(...args: Parameters<typeof follow>): Promise<Page> {
  const page = await follow(...args)
  expect(page.headers.get('cache-control')).toBe('no-store')
  expect(page.headers.get('referrer-policy')).toBe('no-referrer')
  return page
}

const tokenRequests = ({ provider }: TestApp) => provider.count('token')

async function expectDone(app: TestApp, callback: string, path = '/'): Promise<void> {
  const page = await back(app, callback)
  expect([page.status, page.location]).toEqual([303, app.url + path])
}

describe('state first', () => {
  test.each<[string, (state: string) => string | null]>([
    ['missing', () => null],
    ['empty', () => ''],
    ['altered by one character', (state) => (state.startsWith('A') ? 'B' : 'A') + state.slice(1)],
    ['cut', (state) => state.slice(0, -1)],
    ['longer', (state) => `${state}A`],
    ['in the wrong case', (state) => state.replace(/[a-z]/gi, (c) => (c > 'Z' ? c.toUpperCase() : c.toLowerCase()))],
    ['encoded twice', (state) => encodeURIComponent(`%${state.charCodeAt(0).toString(16)}`) + state.slice(1)],
    ['somebody else’s', () => 'x'.repeat(43)],
  ])('A3: a state that is %s is refused, and the flow is still there', async (_name, change) => {
    const app = await startApp()
    const { callback, asked } = await begin(app, '/oauth2authorize?return_url=/there')
    const state = change(asked.get('state') as string)
    for (const params of [{}, { code: null, error: 'access_denied' }]) {
      expect(answer(await back(app, altered(callback, { state, ...params })))).toEqual(STATE_INVALID)
    }
    expect(tokenRequests(app)).toBe(0)
    expect(flowCookies(app.browser)).toHaveLength(1)
    await expectDone(app, callback, '/there')
  })

  test.each([
    ['8 kB', `state=${'s'.repeat(8_000)}`],
    ['15 kB', `state=${'s'.repeat(14_500)}`],
    ['a NUL', 'state=%00'],
    ['invalid UTF-8', 'state=%ff%fe'],
    ['invalid percent encoding', 'state=%zz%'],
    ['__proto__', 'state=__proto__'],
    ['a nested key', 'state[x]=1&state[]=2&__proto__[state]=3'],
    ['[1]', 'state=[1]'],
    ['null', 'state=null'],
    ['JSON', `state=${encodeURIComponent('{"csrf_token":"x","return_url":"https://evil.example"}')}`],
    ['nothing at all', ''],
  ])('A8: a state of %s is a 400', async (_name, query) => {
    const app = await startApp()
    await begin(app)
    const page = await back(app, `${app.url}/oauth2callback?code=x&${query}`)
    expect(answer(page)).toEqual(STATE_INVALID)
    expect(page.body).not.toContain('evil')
    expect(tokenRequests(app)).toBe(0)
  })

  test.each(['state', 'code', 'iss'])('A9: %s given twice is refused', async (name) => {
    const app = await startApp()
    const { callback } = await begin(app)
    const value = new URL(callback).searchParams.get(name) as string
    for (const again of [value, 'other', '']) {
      expect(answer(await back(app, `${callback}&${new URLSearchParams({ [name]: again })}`))).toEqual(STATE_INVALID)
    }
    const errors = altered(callback, { code: null, error: 'access_denied' })
    expect(answer(await back(app, `${errors}&error=server_error`))).toEqual(STATE_INVALID)
    expect(tokenRequests(app)).toBe(0)
    await expectDone(app, callback)
  })

  test('A1: a callback without any flow of its own is refused (login CSRF)', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    const victim = new Browser()
    expect(answer(await back(app, callback, { browser: victim }))).toEqual(STATE_INVALID)
    // Nor with a session, when it is not the one that began the flow.
    await victim.goto(`${app.url}/`)
    expect(answer(await back(app, callback, { browser: victim }))).toEqual(STATE_INVALID)
    expect(tokenRequests(app)).toBe(0)
    expect((await victim.goto(`${app.url}/`)).json()).toMatchObject({ has: false })
  })

  test('A2: opening the callback of another browser harms neither flow', async () => {
    const app = await startApp()
    const attacker = new Browser()
    const mine = await begin(app, '/oauth2authorize?return_url=/mine')
    const theirs = await begin(app, '/oauth2authorize?return_url=/theirs', { browser: attacker })
    expect(answer(await back(app, theirs.callback))).toEqual(STATE_INVALID)
    expect(answer(await back(app, mine.callback, { browser: attacker }))).toEqual(STATE_INVALID)
    expect(tokenRequests(app)).toBe(0)
    await expectDone(app, mine.callback, '/mine')
    expect((await back(app, theirs.callback, { browser: attacker })).status).toBe(303)
  })

  test('C1: another person’s code does not fit into one’s own flow', async () => {
    const app = await startApp()
    const attacker = new Browser()
    app.provider.user = 'mallory'
    const stolen = await begin(app, undefined, { browser: attacker })
    app.provider.user = 'alice'
    const { callback } = await begin(app)
    const page = await back(app, altered(callback, { code: new URL(stolen.callback).searchParams.get('code') }))
    expect(answer(page)).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
    expect((await app.browser.goto(`${app.url}/`)).json()).toMatchObject({ has: false })
  })

  test('A6: a flow is over after ten minutes', async () => {
    const app = await startApp()
    const early = await begin(app)
    app.clock.advance(599_000)
    await expectDone(app, early.callback)
    const late = await begin(app)
    app.clock.advance(600_000)
    const page = await back(app, late.callback)
    expect(answer(page)).toEqual(STATE_INVALID)
    expect(page.body).toContain('href="/oauth2authorize')
    expect(tokenRequests(app)).toBe(1)
  })

  test('B4: a callback on another client’s path is refused, and the flow is still there', async () => {
    const app = await startApp({
      routes: (server, provider) =>
        server.register(oauth2Client, {
          name: 'other',
          provider: { issuer: provider.issuer },
          clientId: provider.clientId,
          clientSecret: provider.clientSecret as string,
        }),
    })
    const { callback } = await begin(app)
    const misdirected = callback.replace('/oauth2callback', '/oauth2callback/other')
    expect(answer(await back(app, misdirected))).toEqual(STATE_INVALID)
    expect(tokenRequests(app)).toBe(0)
    await expectDone(app, callback)
  })

  test('A16: a flow cookie that was tampered with is a 400', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    const [name] = flowCookies(app.browser) as [string]
    const { value } = app.browser.cookies().find((cookie) => cookie.name === name) as { value: string }
    const [header, iv, text, tag] = value.split('.') as [string, string, string, string]
    const flipped = text.slice(0, 9) + (text[9] === 'A' ? 'B' : 'A') + text.slice(10)
    const bad = ['', 'x', value.slice(0, 40), value.slice(0, -4), `${header}.${iv}.${flipped}.${tag}`, `${value}.x`]
    for (const forged of bad) {
      app.browser.setCookie('localhost', { name, value: forged })
      expect(answer(await back(app, callback))).toEqual(STATE_INVALID)
    }
    app.browser.setCookie('localhost', { name, value })
    await expectDone(app, callback)
  })

  test('F5: a planted cookie of the same flow name is a 400 and not a crash', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    const [name] = flowCookies(app.browser) as [string]
    app.browser.setCookie('localhost', { name, value: 'planted', path: '/oauth2callback' })
    expect((await back(app, callback)).status).toBeLessThan(500)
  })

  test('A15: a key that only opens still opens flows; one that is gone is a 400', async () => {
    const provider = await startScriptedProvider()
    const keys = ['k1', 'k2'].map((name) => name.repeat(20)) as [string, string]
    const common = { provider, variant: secureSession }
    const client = (encryptionKeys: string[]) => ({ client: { encryptionKeys, baseUrl: 'http://localhost:3999' } })
    const before = await startApp({ ...common, ...client([keys[0]]) })
    const during = await startApp({ ...common, ...client([keys[1], keys[0]]) })
    const after = await startApp({ ...common, ...client([keys[1]]) })
    const { browser } = before
    const at = ({ url }: TestApp, callback: string) => callback.replace('http://localhost:3999', url)
    const { callback } = await begin(before)
    expect(answer(await back(before, at(after, callback)))).toEqual(STATE_INVALID)
    expect((await back(before, at(during, callback))).status).toBe(303)
    const old = await begin(before)
    expect(answer(await follow({ browser, provider }, at(after, old.callback)))).toEqual(STATE_INVALID)
    await provider.close()
  })
})

describe('the issuer', () => {
  const params: [string, (issuer: string) => string][] = [
    ['of another provider', () => 'https://evil.example'],
    ['with a slash', (issuer) => `${issuer}/`],
    ['in capitals', (issuer) => issuer.toUpperCase()],
    ['without a port', (issuer) => issuer.replace(/:\d+$/, '')],
    ['empty', () => ''],
  ]
  for (const promised of [true, false]) {
    test.each(params)(`B1, B2, B3, B8: an iss %s is refused (promised: ${promised})`, async (_name, change) => {
      const app = await startApp()
      app.provider.metadata = (metadata) => ({
        ...metadata,
        authorization_response_iss_parameter_supported: promised,
      })
      const { callback } = await begin(app)
      const iss = change(app.provider.issuer)
      for (const other of [{}, { code: null, error: 'access_denied' }]) {
        expect(answer(await back(app, altered(callback, { iss, ...other })))).toEqual(STATE_INVALID)
      }
      expect(tokenRequests(app)).toBe(0)
      await expectDone(app, callback)
    })
  }

  test('B2, B4: a missing iss is refused where it was promised, and only there', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    const bare = altered(callback, { iss: null })
    expect(answer(await back(app, bare))).toEqual(STATE_INVALID)
    expect(answer(await back(app, altered(bare, { code: null, error: 'access_denied' })))).toEqual(STATE_INVALID)
    await expectDone(app, callback)

    const silent = await startApp()
    silent.provider.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
    const flow = await begin(silent)
    await expectDone(silent, altered(flow.callback, { iss: null }))
  })
})

describe('what comes with the state', () => {
  test.each(['response', 'id_token', 'access_token', 'token_type', 'token'])(
    'B9: %s in the query is refused',
    async (name) => {
      const app = await startApp()
      const { callback } = await begin(app)
      expect(answer(await back(app, altered(callback, { [name]: 'injected' })))).toEqual(STATE_INVALID)
      expect(tokenRequests(app)).toBe(0)
      await expectDone(app, callback)
    },
  )

  test.each([[null], ['']])('C8: a code that is missing or empty (%s) is refused without a request', async (code) => {
    const app = await startApp()
    const { callback } = await begin(app)
    expect(answer(await back(app, altered(callback, { code })))).toEqual(STATE_INVALID)
    expect(tokenRequests(app)).toBe(0)
    await expectDone(app, callback)
  })

  test('C8: a code reaches the provider byte for byte', async () => {
    const app = await startApp()
    const odd = 'a+b/c%d&e=f g"ü' + 'x'.repeat(4_000)
    const { callback } = await begin(app)
    expect((await back(app, altered(callback, { code: odd }))).status).toBe(502)
    expect(app.provider.requests.at(-1)?.params.code).toBe(odd)
  })

  test.each([
    ['access_denied', 403, 'FST_OAUTH2_ACCESS_DENIED'],
    ['consent_required', 403, 'FST_OAUTH2_ACCESS_DENIED'],
    ['login_required', 403, 'FST_OAUTH2_ACCESS_DENIED'],
    ['interaction_required', 403, 'FST_OAUTH2_ACCESS_DENIED'],
    ['temporarily_unavailable', 503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'],
    ['server_error', 502, 'FST_OAUTH2_EXCHANGE_FAILED'],
    ['invalid_scope', 500, 'FST_OAUTH2_CLIENT_REJECTED'],
    ['unauthorized_client', 500, 'FST_OAUTH2_CLIENT_REJECTED'],
    ['unsupported_response_type', 500, 'FST_OAUTH2_CLIENT_REJECTED'],
    ['something_else', 400, 'FST_OAUTH2_AUTHORIZATION_FAILED'],
    ['<b>x</b>', 400, 'FST_OAUTH2_AUTHORIZATION_FAILED'],
    ['__proto__', 400, 'FST_OAUTH2_AUTHORIZATION_FAILED'],
  ])('G1, G3, G4, G5: error=%s is %i, ends the flow and keeps what is stored', async (error, status, code) => {
    const app = await startApp()
    await app.browser.goto(`${app.url}/profile`)
    const { callback } = await begin(app, '/files')
    const told = {
      error,
      error_description: `<script>alert(1)</script>\r\nX: y ${'long'.repeat(2_000)} \u202e`,
      error_uri: 'javascript:alert(1)',
    }
    // A code that comes along is not used.
    const page = await back(app, altered(callback, told))
    expect(answer(page)).toEqual([status, code])
    expect(page.body).not.toMatch(/<script|alert\(|longlong|<b>x|something_else|__proto__/)
    expect(page.body.length).toBeLessThan(5_000)
    if (status === 503) expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(tokenRequests(app)).toBe(1)
    expect(flowCookies(app.browser)).toEqual([])
    expect(answer(await back(app, callback))).toEqual(STATE_INVALID)
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    expect(tokenRequests(app)).toBe(1)
    expect(app.logs.text()).not.toContain('longlong')
  })

  test('G2: an error without the state of a flow is a 400 and shows nothing', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    const forged = `${app.url}/oauth2callback?error=access_denied&error_description=Call+555-1234`
    const page = await back(app, forged)
    expect(answer(page)).toEqual(STATE_INVALID)
    expect(page.body).not.toContain('555')
    await expectDone(app, callback)
  })

  test('G5: an empty error is a 400', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    expect(answer(await back(app, altered(callback, { error: '' })))[0]).toBe(400)
    expect(answer(await back(app, altered(callback, { error: '', code: null })))[0]).toBe(400)
    expect(tokenRequests(app)).toBe(0)
  })

  test('F7, F8: an error page loads nothing, cannot be framed and leads on', async () => {
    const app = await startApp()
    const { callback } = await begin(app, '/files?x=%22%3E%3Cb%3E')
    const page = await back(app, altered(callback, { code: null, error: 'access_denied' }))
    expect(page.headers.get('x-frame-options')).toBe('DENY')
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'.*frame-ancestors 'none'$/)
    expect(page.body).not.toMatch(/<script|<img|<link|src=|<b>/)
    const way = /<a class="way" href="([^"]+)"/
      .exec(page.body)?.[1]
      ?.replaceAll(/&#(\d+);/g, (_, n) => String.fromCharCode(n))
    const again = await app.browser.goto(app.url + way)
    expect([again.status, again.url]).toEqual([200, `${app.url}/files?x=%22%3E%3Cb%3E`])
  })

  test('programs get the same as JSON', async () => {
    const app = await startApp()
    const page = await back(app, `${app.url}/oauth2callback`, { headers: { accept: '*/*', 'sec-fetch-mode': 'cors' } })
    expect(page.json()).toEqual({
      statusCode: 400,
      code: 'FST_OAUTH2_STATE_INVALID',
      error: 'Bad Request',
      message: expect.any(String),
    })
  })

  test.each(['HEAD', 'OPTIONS', 'PUT', 'POST'])('A13: %s of the callback uses nothing up', async (method) => {
    const app = await startApp()
    const { callback } = await begin(app)
    expect([404, 405]).toContain((await app.browser.step(callback, { method })).status)
    expect(tokenRequests(app)).toBe(0)
    await expectDone(app, callback)
  })
})

describe('exchanges that fail', () => {
  const EXCHANGE_FAILED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
  const UNAVAILABLE = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
  const answers =
    (reply: Awaited<ReturnType<NonNullable<ScriptedProvider['tokenAnswer']>>>) => (p: ScriptedProvider) => {
      p.tokenAnswer = () => reply
    }
  const body = (change: (body: Record<string, unknown>) => unknown) => (p: ScriptedProvider) => {
    p.tokenAnswer = async (_params, defaults) => ({ body: change((await defaults()).body) as object })
  }
  const claims = (change: Record<string, unknown>) => (p: ScriptedProvider) => {
    p.idTokenClaims = (usual) => ({ ...usual, ...change })
  }
  const signed = (sign: NonNullable<ScriptedProvider['signIdToken']>) => (p: ScriptedProvider) => {
    p.signIdToken = sign
  }
  const now = Math.floor(Date.now() / 1000)

  test.each<[string, (number | string)[], (provider: ScriptedProvider) => void]>([
    ['C7: invalid_grant', EXCHANGE_FAILED, answers({ status: 400, body: { error: 'invalid_grant' } })],
    ['H12: invalid_grant with 403', EXCHANGE_FAILED, answers({ status: 403, body: { error: 'invalid_grant' } })],
    ['H12: an error with 200', EXCHANGE_FAILED, answers({ body: { error: 'bad_verification_code' } })],
    [
      'H11: invalid_client',
      [500, 'FST_OAUTH2_CLIENT_REJECTED'],
      answers({ status: 401, body: { error: 'invalid_client' } }),
    ],
    ['H2: 500', UNAVAILABLE, answers({ status: 500, body: 'oops' })],
    ['H2: server_error with 500', UNAVAILABLE, answers({ status: 500, body: { error: 'server_error' } })],
    ['H2: invalid_grant with 502', UNAVAILABLE, answers({ status: 502, body: { error: 'invalid_grant' } })],
    ['H2: 429', UNAVAILABLE, answers({ status: 429, body: '', headers: { 'retry-after': '7' } })],
    ['H3: no answer', UNAVAILABLE, answers({ hang: true })],
    ['H3: a reset', UNAVAILABLE, answers({ destroy: true })],
    [
      'H3: a reset after it took effect',
      UNAVAILABLE,
      (p) => {
        p.tokenAnswer = async (_params, defaults) => {
          await defaults()
          return { destroy: true }
        }
      },
    ],
    [
      'H1: a page',
      EXCHANGE_FAILED,
      answers({ body: '<html>sign in</html>', headers: { 'content-type': 'text/html' } }),
    ],
    [
      'H1: broken JSON',
      EXCHANGE_FAILED,
      answers({ body: '{"access_token": "x', headers: { 'content-type': 'application/json' } }),
    ],
    ['H1: an empty answer', EXCHANGE_FAILED, answers({ body: '' })],
    ['H1: null', EXCHANGE_FAILED, answers({ body: 'null', headers: { 'content-type': 'application/json' } })],
    ['H1: an array', EXCHANGE_FAILED, answers({ body: [] })],
    [
      'H1: 201',
      EXCHANGE_FAILED,
      answers({ status: 201, body: { access_token: 'not-to-be-seen', token_type: 'bearer' } }),
    ],
    [
      'H5: a redirect',
      EXCHANGE_FAILED,
      (p) => answers({ status: 307, headers: { location: `${p.issuer}/token?again` } })(p),
    ],
    ['H1: no access token', EXCHANGE_FAILED, body(({ access_token: _, ...rest }) => rest)],
    [
      'H8: an access token with a line break',
      EXCHANGE_FAILED,
      body((rest) => ({ ...rest, access_token: 'a\r\nX: y' })),
    ],
    ['H6: another token type', EXCHANGE_FAILED, body((rest) => ({ ...rest, token_type: 'mac' }))],
    ['H6: no token type', EXCHANGE_FAILED, body(({ token_type: _, ...rest }) => rest)],
    ['H7: a negative lifetime', EXCHANGE_FAILED, body((rest) => ({ ...rest, expires_in: -1 }))],
    ['H7: a lifetime in words', EXCHANGE_FAILED, body((rest) => ({ ...rest, expires_in: 'soon' }))],
    ['H9: an empty refresh token', EXCHANGE_FAILED, body((rest) => ({ ...rest, refresh_token: '' }))],
    ['H10: scopes as an array', EXCHANGE_FAILED, body((rest) => ({ ...rest, scope: ['openid'] }))],
    ['C5: no ID token', EXCHANGE_FAILED, body(({ id_token: _, ...rest }) => rest)],
    ['C5: another nonce', EXCHANGE_FAILED, claims({ nonce: 'another' })],
    ['C5: no nonce', EXCHANGE_FAILED, claims({ nonce: undefined })],
    ['I: another audience', EXCHANGE_FAILED, claims({ aud: 'another' })],
    ['I: one more audience', EXCHANGE_FAILED, claims({ aud: ['test-client', 'another'] })],
    ['I: another issuer', EXCHANGE_FAILED, claims({ iss: 'https://evil.example' })],
    ['I: another authorized party', EXCHANGE_FAILED, claims({ azp: 'another' })],
    ['I: expired', EXCHANGE_FAILED, claims({ exp: now - 3600 })],
    ['I: no subject', EXCHANGE_FAILED, claims({ sub: undefined })],
    ['I: a subject that is no string', EXCHANGE_FAILED, claims({ sub: 7 })],
    ['I: an empty subject', EXCHANGE_FAILED, claims({ sub: '' })],
    ['I: a subject without end', EXCHANGE_FAILED, claims({ sub: 's'.repeat(256) })],
    ['I: not valid yet', EXCHANGE_FAILED, claims({ nbf: now + 3600 })],
    ['I: issued in the far future', EXCHANGE_FAILED, claims({ iat: now + 3600, exp: now + 7200 })],
    ['I: an expiry in words', EXCHANGE_FAILED, claims({ exp: 'never' as unknown as number })],
    ['I: no issue time', EXCHANGE_FAILED, claims({ iat: undefined })],
    ['I: alg none', EXCHANGE_FAILED, signed(async (payload) => new UnsecuredJWT(payload).encode())],
    [
      'I: a shared secret for a signature',
      EXCHANGE_FAILED,
      signed((payload) => new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.alloc(32, 'secret'))),
    ],
    [
      'I: a damaged signature',
      EXCHANGE_FAILED,
      (p) => {
        p.signIdToken = async (payload) => (await p.sign(payload)).replace(/\.[^.]{10}([^.]+)$/, '.AAAAAAAAAA$1')
      },
    ],
    [
      'I: altered claims',
      EXCHANGE_FAILED,
      (p) => {
        p.signIdToken = async (payload) => {
          const [header, , signature] = (await p.sign(payload)).split('.')
          return `${header}.${Buffer.from(JSON.stringify({ ...payload, sub: 'sub-eve' })).toString('base64url')}.${signature}`
        }
      },
    ],
    [
      'I: an unknown key',
      EXCHANGE_FAILED,
      (p) => {
        p.signIdToken = (payload) => p.sign(payload, { kid: 'unknown' })
      },
    ],
    [
      'I: no keys to be had',
      EXCHANGE_FAILED,
      (p) => {
        p.jwksAnswer = () => ({ status: 500, body: 'oops' })
      },
    ],
    [
      'I3: userinfo about somebody else',
      EXCHANGE_FAILED,
      (p) => {
        claims({ email: undefined })(p)
        p.userinfoAnswer = () => ({ body: { sub: 'sub-eve', email: 'eve@example.com' } })
      },
    ],
  ])('%s', async (name, expected, spoil) => {
    const map = new Map<string, MemoryEntry>()
    const app = await startApp({ storage: memoryStore({ map }), client: { timeout: 400 } })
    const { browser, url, provider } = app
    const stranger = new Browser()
    await browser.goto(`${url}/profile`)
    const before = structuredClone([...map])
    const grant = await begin(app, '/files')
    const signIn = await begin(app, '/profile', { browser: stranger })
    // Forgets the keys, so that those that are down are missed.
    if (name.includes('no keys')) provider.idTokenClaims = (usual) => usual
    spoil(provider)
    if (name.includes('no keys') || name.includes('unknown')) await provider.rotateKeys()

    const page = await back(app, grant.callback)
    expect(answer(page)).toEqual(expected)
    expect(answer(await back(app, signIn.callback, { browser: stranger }))).toEqual(expected)
    expect(provider.count('token', 'authorization_code')).toBe(3)
    expect([...map]).toEqual(before)
    expect(flowCookies(browser)).toEqual([])
    if (expected === UNAVAILABLE) expect(Number(page.headers.get('retry-after'))).toBe(name.includes('429') ? 7 : 5)
    const secrets = provider.secrets().filter((secret) => page.body.includes(secret))
    expect(secrets).toEqual([])
    // Nobody is signed in by that, and nobody is signed out.
    expect((await stranger.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ scopes: ['openid', 'email'] })
    // The guard does not send people straight back into what just failed.
    expect(answer(await browser.goto(`${url}/files`))[0]).toBeGreaterThanOrEqual(400)
    expect(provider.count('token')).toBe(3)
  })

  test('H17: nobody there', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    await app.provider.close()
    expect(answer(await back(app, callback))).toEqual(UNAVAILABLE)
  })

  test('H4: an endless answer is cut off', async () => {
    const app = await startApp()
    const { callback } = await begin(app)
    body((rest) => ({ ...rest, padding: 'x'.repeat(3_000_000) }))(app.provider)
    expect([502, 503]).toContain((await back(app, callback)).status)
  })

  test('I: userinfo that fails costs the address and not the sign-in', async () => {
    const app = await startApp()
    claims({ email: undefined })(app.provider)
    app.provider.userinfoAnswer = () => ({ status: 500, body: 'oops' })
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice', email: null })
  })
})

describeEachSession((variant) => {
  test('A4: a callback that is opened again leads to where the first one led, without a request', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile?x=1')
    await expectDone(app, callback, '/profile?x=1')
    await expectDone(app, callback, '/profile?x=1')
    await app.browser.goto(`${app.url}/files`)
    await expectDone(app, callback, '/profile?x=1')
    expect(tokenRequests(app)).toBe(2)
    // Elsewhere it is worth nothing.
    expect(answer(await back(app, callback, { browser: new Browser() }))).toEqual(STATE_INVALID)
  })

  test('A5: two callbacks at the same moment make one token request and both lead back', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    const held = app.provider.hold('token')
    const both = [back(app, callback), back(app, callback)]
    await held.arrived()
    held.release()
    for (const page of await Promise.all(both))
      expect([page.status, page.location]).toEqual([303, `${app.url}/profile`])
    expect(tokenRequests(app)).toBe(1)
    expect((await app.browser.goto(`${app.url}/profile`)).chain).toHaveLength(1)
    expect(tokenRequests(app)).toBe(1)
  })

  test('A4, A5: the first answer got lost: the code is not used again, and nobody is let in without the session', async () => {
    const app = await startApp({ variant, storage: memoryStore() })
    const { callback } = await begin(app, '/profile')
    const unanswered = app.browser.clone()
    const late = app.browser.clone()
    await expectDone(app, callback, '/profile')
    app.clock.advance(29_000)
    const page = await back(app, callback, { browser: unanswered })
    if (variant.kind === 'secure-session') {
      expect([page.status, page.location]).toEqual([303, `${app.url}/profile`])
      expect((await unanswered.goto(`${app.url}/profile`)).chain).toHaveLength(1)
    } else {
      // The session that the cookies name ended with the sign-in; there is a way on.
      expect(answer(page)).toEqual(STATE_INVALID)
      expect(page.body).toContain('href="/oauth2authorize')
    }
    expect(tokenRequests(app)).toBe(1)
    app.clock.advance(2_000)
    expect((await back(app, callback, { browser: late })).status).toBeGreaterThanOrEqual(400)
    expect((await late.goto(`${app.url}/`)).json()).toMatchObject({ has: false })
  })

  test('A5: a failed exchange is not tried again', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app)
    const again = app.browser.clone()
    app.provider.tokenAnswer = () => ({ status: 500, body: 'oops' })
    expect((await back(app, callback)).status).toBe(503)
    app.provider.tokenAnswer = undefined
    expect((await back(app, callback, { browser: again })).status).toBe(503)
    expect(tokenRequests(app)).toBe(1)
  })

  const withCart: TestAppOptions['routes'] = (app) => {
    app.get<{ Querystring: { put?: string } }>('/cart', async (request) => {
      const session = request.session as unknown as {
        get(key: string): unknown
        set(key: string, value: unknown): void
      }
      if (request.query.put) session.set('cart', request.query.put)
      return { cart: session.get('cart') ?? null, mark: session.get('mark') ?? null }
    })
  }

  for (const storage of ['session', 'memory'] as const) {
    test(`A10, A11: the session gets a new id when its person changes, and only then (${storage})`, async () => {
      const app = await startApp({
        variant,
        routes: withCart,
        storage: storage === 'session' ? 'session' : memoryStore(),
      })
      const { browser, url, provider } = app
      const id = () => browser.cookies().find(({ name }) => name === variant.cookieName)?.value
      const cart = async (by = browser) => (await by.goto(`${url}/cart`)).json().cart
      const user = async () => (await browser.goto(`${url}/`)).json().user
      await browser.goto(`${url}/cart?put=book`)
      const anonymous = id()
      const fixed = browser.clone()

      await browser.goto(`${url}/profile`)
      const signedIn = id()
      expect([await cart(), await user()]).toEqual(['book', 'sub-alice'])
      if (variant.hasStore) expect(signedIn).not.toBe(anonymous)
      // Whoever planted or stole the old id is not signed in by that, and a server forgot it.
      expect((await fixed.goto(`${url}/`)).json().user).toBeNull()
      if (variant.hasStore) expect(await cart(fixed)).toBeNull()

      await browser.goto(`${url}/files`)
      await browser.goto(`${url}/oauth2authorize`)
      expect([await cart(), await user()]).toEqual(['book', 'sub-alice'])
      if (variant.hasStore) expect(id()).toBe(signedIn)

      provider.user = 'bob'
      provider.grant = () => ['openid', 'email']
      await browser.goto(`${url}/oauth2authorize`)
      expect([await cart(), await user()]).toEqual([null, 'sub-bob'])
      if (variant.hasStore) expect(id()).not.toBe(signedIn)
      // Nothing of the former person's grant is left to the new one.
      const { scopes, email } = (await browser.goto(`${url}/profile`)).json()
      expect([scopes, email]).toEqual([['openid', 'email'], 'bob@example.com'])
      expect((await browser.xhr(`${url}/files`)).status).toBe(403)
    })
  }

  test('A11: what the app writes for the new person while it signs them in stays', async () => {
    const app = await startApp({
      variant,
      routes: withCart,
      client: {
        resolveUser(request, { claims }) {
          ;(request.session as unknown as { set(key: string, value: unknown): void }).set('mark', claims?.sub)
          return `user of ${claims?.sub}`
        },
      },
    })
    await app.browser.goto(`${app.url}/cart?put=book`)
    await app.browser.goto(`${app.url}/profile`)
    expect((await app.browser.goto(`${app.url}/cart`)).json()).toEqual({ cart: 'book', mark: 'sub-alice' })
    app.provider.user = 'bob'
    await app.browser.goto(`${app.url}/oauth2authorize`)
    expect((await app.browser.goto(`${app.url}/cart`)).json()).toEqual({ cart: null, mark: 'sub-bob' })
  })

  test('A11: accountSwitch "refuse" keeps the person, the session and the store as they were', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await startApp({
      variant,
      routes: withCart,
      storage: memoryStore({ map }),
      client: { accountSwitch: 'refuse' },
    })
    const { browser, url, provider } = app
    await browser.goto(`${url}/profile`)
    await browser.goto(`${url}/cart?put=book`)
    const before = structuredClone([...map])
    provider.user = 'bob'
    const { callback } = await begin(app)
    expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_ACCOUNT_MISMATCH'])
    expect([...map]).toEqual(before)
    expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-alice')
    expect((await browser.goto(`${url}/cart`)).json().cart).toBe('book')
    expect(provider.count('revoke')).toBe(0)
  })

  test('A11: a grant that another account answers is refused, stores nothing and revokes nothing', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await startApp({ variant, storage: memoryStore({ map }) })
    const { browser, url, provider } = app
    await browser.goto(`${url}/profile`)
    const before = structuredClone([...map])
    const { callback } = await begin(app, '/files')
    // Who it is shows in the answer: the browser is the same.
    provider.idTokenClaims = (claims) => ({ ...claims, sub: 'sub-bob' })
    expect(answer(await back(app, callback))).toEqual([403, 'FST_OAUTH2_ACCOUNT_MISMATCH'])
    expect([...map]).toEqual(before)
    expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-alice')
    expect(provider.count('revoke')).toBe(0)
  })
})

describe('several processes', () => {
  const shared = (map: Map<string, MemoryEntry>): CredentialStore => ({ ...memoryStore({ map }), shared: true })

  /** Two apps as behind one load balancer: same keys, same store, same public address. */
  async function twoProcesses(timeout = 5_000, firstKeys: readonly string[] = ['k'.repeat(40)]) {
    const map = new Map<string, MemoryEntry>()
    const first = await startApp({
      variant: secureSession,
      storage: shared(map),
      client: { encryptionKeys: firstKeys, baseUrl: 'http://localhost:3999', timeout },
    })
    const second = await startApp({
      provider: first.provider,
      variant: secureSession,
      storage: shared(map),
      client: { encryptionKeys: 'k'.repeat(40), baseUrl: 'http://localhost:3999', timeout },
    })
    const { callback } = await begin({ ...second, browser: first.browser }, '/oauth2authorize?return_url=/done')
    const at = ({ url }: TestApp) => callback.replace('http://localhost:3999', url)
    return { first, second, map, at }
  }

  test('A5: the same callback at two processes makes one token request, and both lead back signed in', async () => {
    const { first, second, at } = await twoProcesses()
    const { browser, provider } = first
    const other = browser.clone()
    const held = provider.hold('token')
    const one = back(first, at(first))
    await held.arrived()
    const two = back(first, at(second), { browser: other })
    // The second one may look a few times before there is anything to see.
    await new Promise((resolve) => setTimeout(resolve, 300))
    held.release()
    for (const page of await Promise.all([one, two])) {
      expect([page.status, page.headers.get('location')]).toEqual([303, '/done'])
    }
    expect(provider.count('token')).toBe(1)
    for (const by of [browser, other]) {
      expect((await by.goto(`${first.url}/profile`)).json().user).toBe('sub-alice')
      expect((await by.goto(`${second.url}/profile`)).json().user).toBe('sub-alice')
    }
    expect(provider.count('token')).toBe(1)
  })

  test('A5: a process that is newer sealed what came of it with a key that is not here yet: a 503, and no second request', async () => {
    const { first, second, at } = await twoProcesses(5_000, ['n'.repeat(40), 'k'.repeat(40)])
    const other = first.browser.clone()
    expect((await back(first, at(first))).status).toBe(303)
    expect(answer(await back(first, at(second), { browser: other }))).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
    expect(first.provider.count('token')).toBe(1)
  })

  test('A4: a callback that one process finished leads back at another one too', async () => {
    const { first, second, at } = await twoProcesses()
    const other = first.browser.clone()
    expect((await back(first, at(first))).status).toBe(303)
    expect((await back(first, at(second))).status).toBe(303)
    expect((await back(first, at(second), { browser: other })).status).toBe(303)
    expect(first.provider.count('token')).toBe(1)
  })

  test('A5: when the first process fails, the second one does not try the code again', async () => {
    const { first, second, at } = await twoProcesses(500)
    const { provider } = first
    const other = first.browser.clone()
    provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
    expect((await back(first, at(first))).status).toBe(502)
    expect((await back(first, at(second), { browser: other })).status).toBe(503)
    expect(provider.count('token')).toBe(1)
  })

  test('nothing in the shared store can be read without the key', async () => {
    const { first, map, at } = await twoProcesses()
    await back(first, at(first))
    const text = JSON.stringify([...map])
    expect(text).not.toContain('sub-alice@')
    for (const secret of first.provider.secrets()) expect(text).not.toContain(secret)
  })

  test('A14: a store that is down makes the callback a 503, and the flow is still there', async () => {
    const map = new Map<string, MemoryEntry>()
    const store = shared(map)
    let down = false
    const flaky: CredentialStore = {
      shared: true,
      get: async (key) => (down ? Promise.reject(new Error('store down')) : store.get(key)),
      put: async (...args) => (down ? Promise.reject(new Error('store down')) : store.put(...args)),
      delete: async (...args) => (down ? Promise.reject(new Error('store down')) : store.delete(...args)),
    }
    const app = await startApp({ storage: flaky, client: { encryptionKeys: 'k'.repeat(40) } })
    const { callback } = await begin(app)
    down = true
    expect(answer(await back(app, callback))).toEqual([503, 'FST_OAUTH2_STORE_UNAVAILABLE'])
    expect(tokenRequests(app)).toBe(0)
    down = false
    await expectDone(app, callback)
  })
})

test('J9: a store that fails after the exchange makes it a 503, and starting again works', async () => {
  const store = memoryStore()
  let down = true
  const put: CredentialStore['put'] = (...args) => (down ? Promise.reject(new Error('store down')) : store.put(...args))
  const app = await startApp({ storage: { ...store, put } })
  const { callback } = await begin(app, '/profile')
  expect(answer(await back(app, callback))).toEqual([503, 'FST_OAUTH2_STORE_UNAVAILABLE'])
  expect(tokenRequests(app)).toBe(1)
  expect((await app.browser.goto(`${app.url}/`)).json()).toEqual({ user: null, has: false })
  down = false
  expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
})

describe('hooks', () => {
  test('onAuthorized runs when everything is stored, with where the person goes next', async () => {
    const seen: unknown[] = []
    const app = await startApp({
      storage: memoryStore(),
      client: {
        async onAuthorized(request, { user, claims, credentials, returnUrl }) {
          const stored = await request.server.oauth2.user(user)
          seen.push([
            user,
            claims?.sub,
            returnUrl,
            credentials.scopes,
            stored.hasCredentials(),
            credentials.refreshToken,
          ])
        },
      },
    })
    await app.browser.goto(`${app.url}/files?x=1`)
    expect(seen).toEqual([['sub-alice', 'sub-alice', '/files?x=1', ['openid', 'email', 'files.read'], true, undefined]])
    await app.browser.goto(`${app.url}/files`)
    expect(seen).toHaveLength(1)
  })

  test('K6: an exception of onAuthorized is a 500, and the sign-in counts all the same', async () => {
    const app = await startApp({
      client: {
        onAuthorized() {
          throw new Error('the app has a bug')
        },
      },
    })
    const { callback } = await begin(app, '/profile')
    const page = await back(app, callback)
    expect([page.status, page.json().message]).toEqual([500, 'the app has a bug'])
    expect((await app.browser.goto(`${app.url}/profile`)).chain).toHaveLength(1)
    expect(flowCookies(app.browser)).toEqual([])
  })

  test('an exception of resolveUser refuses the sign-in and reaches the app', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await startApp({
      storage: memoryStore({ map }),
      client: {
        resolveUser() {
          throw Object.assign(new Error('not invited'), { statusCode: 403 })
        },
      },
    })
    const { callback } = await begin(app)
    const page = await back(app, callback)
    expect([page.status, page.json().message]).toEqual([403, 'not invited'])
    expect([...map]).toEqual([])
    expect((await app.browser.goto(`${app.url}/`)).json()).toEqual({ user: null, has: false })
  })

  type OnError = NonNullable<OAuth2ClientOptions['onError']>
  test.each<[string, OnError, number, string | RegExp]>([
    ['answers', (_error, _request, reply) => reply.code(418).send('mine'), 418, 'mine'],
    ['answers without returning', (_error, _request, reply) => void reply.code(418).send('mine'), 418, 'mine'],
    [
      'answers later',
      async (_error, _request, reply) => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        return reply.code(418).send('mine')
      },
      418,
      'mine',
    ],
    ['redirects', (_error, _request, reply) => reply.redirect('/oops', 303), 303, ''],
    ['returns a value', () => ({ mine: true }), 200, '{"mine":true}'],
    [
      'throws what it got',
      (error) => {
        throw error
      },
      403,
      /"handled":"FST_OAUTH2_ACCESS_DENIED"/,
    ],
    [
      'throws something',
      () => {
        throw new Error('mine')
      },
      500,
      /"handled":"mine"/,
    ],
    ['does nothing', () => undefined, 403, /FST_OAUTH2_ACCESS_DENIED/],
  ])('onError that %s', async (_name, onError, status, expected) => {
    const app = await startApp({
      variant: sessionVariants[1] as SessionVariant,
      client: { onError },
      routes: (server) =>
        server.setErrorHandler((error: Error & { code?: string; statusCode?: number }, _request, reply) =>
          reply.code(error.statusCode ?? 500).send({ handled: error.code ?? error.message }),
        ),
    })
    const { callback } = await begin(app)
    const page = await back(app, altered(callback, { code: null, error: 'access_denied' }))
    expect(page.status).toBe(status)
    if (typeof expected === 'string') expect(page.body).toBe(expected)
    else expect(page.body).toMatch(expected)
    // The flow is over either way.
    expect(flowCookies(app.browser)).toEqual([])
    expect(app.logs.text()).not.toContain('FST_ERR_REP_ALREADY_SENT')
  })
})

describe('what was granted', () => {
  const scopesOf = async ({ browser, url }: TestApp) => (await browser.xhr(`${url}/profile`)).json().scopes

  test('offline "required": without a refresh token consent is asked for once more, and then no further', async () => {
    const map = new Map<string, MemoryEntry>()
    const app = await startApp({ storage: memoryStore({ map }), client: { offline: 'required' } })
    app.provider.refreshTokenPolicy = 'never'
    const first = await begin(app, '/profile')
    expect(first.asked.has('prompt')).toBe(false)
    const retry = await back(app, first.callback)
    expect(retry.status).toBe(302)
    const again = new URL(retry.location as string)
    expect(again.origin).toBe(app.provider.issuer)
    expect(again.searchParams.get('prompt')).toBe('consent')
    expect(again.searchParams.get('state')).not.toBe(first.asked.get('state'))
    const second = (await app.browser.step(again)).location as string
    expect(answer(await back(app, second))).toEqual([502, 'FST_OAUTH2_NO_REFRESH_TOKEN'])
    expect([...map]).toEqual([])
    expect(flowCookies(app.browser)).toEqual([])
    expect(answer(await app.browser.goto(`${app.url}/profile`))).toEqual([502, 'FST_OAUTH2_NO_REFRESH_TOKEN'])
  })

  test('offline "required": consent brings the refresh token, and a stored one will do', async () => {
    const app = await startApp({ storage: memoryStore(), client: { offline: 'required' } })
    app.provider.refreshTokenPolicy = 'first'
    await app.browser.goto(`${app.url}/profile`)
    expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
    expect(tokenRequests(app)).toBe(2)

    const elsewhere = await startApp({ provider: app.provider, client: { offline: 'required' } })
    const page = await elsewhere.browser.goto(`${elsewhere.url}/profile?x=1`)
    expect([page.status, page.url]).toEqual([200, `${elsewhere.url}/profile?x=1`])
    expect(page.chain.filter(({ url }) => url.includes('/authorize?'))).toHaveLength(2)
  })

  for (const storage of ['session', 'memory'] as const) {
    test(`K1: a refresh token outlives an answer without one (${storage})`, async () => {
      const app = await startApp({ storage: storage === 'session' ? 'session' : memoryStore() })
      app.provider.refreshTokenPolicy = 'first'
      await app.browser.goto(`${app.url}/profile`)
      expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
      app.clock.advance(3_601_000)
      expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
      expect(app.provider.count('token', 'refresh_token')).toBe(1)
    })

    test(`a sign-in that grants less than there is proves who it is, and no more (${storage})`, async () => {
      const app = await startApp({ storage: storage === 'session' ? 'session' : memoryStore() })
      await app.browser.goto(`${app.url}/files`)
      app.provider.grant = () => ['openid', 'email']
      await app.browser.goto(`${app.url}/oauth2authorize`)
      expect(tokenRequests(app)).toBe(2)
      const page = await app.browser.goto(`${app.url}/files`)
      expect([page.status, page.chain.length]).toEqual([200, 1])
    })
  }

  test('H10: an answer without scopes granted what was asked for', async () => {
    const app = await startApp()
    app.provider.tokenAnswer = async (_params, defaults) => {
      const { scope: _, ...body } = (await defaults()).body
      return { body }
    }
    expect((await app.browser.goto(`${app.url}/files`)).json().scopes).toEqual(['openid', 'email', 'files.read'])
  })

  test('H10: a wider answer is kept, and guards go by name', async () => {
    const app = await startApp()
    app.provider.grant = (scopes) => [...scopes, 'files', 'calendar.read.all']
    await app.browser.goto(`${app.url}/profile`)
    expect(await scopesOf(app)).toEqual(['openid', 'email', 'files', 'calendar.read.all'])
    expect((await app.browser.xhr(`${app.url}/files`)).status).toBe(403)
  })

  test.each([
    ['narrower', 'openid email'],
    ['empty', ''],
  ])('K2, H10: a %s answer is a page and not a loop', async (_name, scope) => {
    const app = await startApp()
    app.provider.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, scope } })
    const page = await app.browser.goto(`${app.url}/files`)
    expect(answer(page)).toEqual([403, 'FST_OAUTH2_SCOPE_DECLINED'])
    expect(page.body).toContain('files.read')
    expect(tokenRequests(app)).toBe(1)
  })

  test('K4: Google’s long spellings count as the short ones', async () => {
    const app = await startApp({
      client: ({ issuer }) => ({ provider: google({ issuer }), scopes: ['openid', 'email', 'profile'] }),
    })
    app.provider.tokenAnswer = async (_params, defaults) => {
      const long = 'https://www.googleapis.com/auth/userinfo.'
      return { body: { ...(await defaults()).body, scope: `${long}profile openid ${long}email` } }
    }
    const page = await app.browser.goto(`${app.url}/profile`)
    expect([page.status, page.chain.length]).toEqual([200, 4])
    const { asked } = await begin(app)
    expect(asked.get('scope')?.split(' ')).toHaveLength(3)
  })

  test('I5: the same person at two addresses is one user, the same address of two people is two', async () => {
    const app = await startApp()
    app.provider.idTokenClaims = (claims) => ({ ...claims, email: 'shared@example.com' })
    await app.browser.goto(`${app.url}/files`)
    app.provider.user = 'bob'
    app.provider.grant = () => ['openid', 'email']
    await app.browser.goto(`${app.url}/oauth2authorize`)
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({
      user: 'sub-bob',
      email: 'shared@example.com',
      scopes: ['openid', 'email'],
    })
  })
})
