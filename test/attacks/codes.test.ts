/** Codes, PKCE and nonces. RFC 7636, RFC 9700 sections 2.1.1, 4.5, 4.8 and 4.12, OpenID Connect Core section 3.1.3.7. */
import { createHash } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { authorizationUrl, Provider } from '../../src/flows/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import type { Answer } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, SlowSessionStore } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies } from '../routes/flow.js'

const EXCHANGE_FAILED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
const STATE_INVALID = [400, 'FST_OAUTH2_STATE_INVALID']

describeEachSession((variant) => {
  test('C1: with a real authorization server, a victim’s code in the attacker’s own flow is refused', async () => {
    const server = await startAuthorizationServer({ autoApprove: { user: 'victim' } })
    onTestFinished(() => server.close())
    const app = await startApp({
      variant,
      client: { provider: { issuer: server.issuer }, clientId: server.clientId, clientSecret: server.clientSecret },
    })
    const stop = ({ pathname }: URL) => pathname === '/oauth2callback'
    const start = async (browser: Browser) => {
      const page = await browser.goto(`${app.url}/oauth2authorize?return_url=/profile`, { stopAt: stop })
      return page.location as string
    }
    const [victim, attacker] = [new Browser(), new Browser()]
    await attacker.goto(`${app.url}/`)
    const stolen = new URL(await start(victim)).searchParams.get('code')
    server.autoApprove = { user: 'mallory' }
    const own = await start(attacker)
    const page = await attacker.step(altered(own, { code: stolen }), { from: server.issuer })
    expect(answer(page)).toEqual(EXCHANGE_FAILED)
    expect(server.tokenRequests).toHaveLength(1)
    expect((await attacker.goto(`${app.url}/`)).json()).toEqual({ user: null, has: false })
    // The flow is over, and the attacker can begin another one as themselves.
    expect(answer(await attacker.step(own, { from: server.issuer }))).toEqual(STATE_INVALID)
    expect((await attacker.goto(await start(attacker))).json()).toMatchObject({ user: 'sub-mallory' })
  })

  test.each(['with a secret', 'public'] as const)('C2: %s, PKCE with S256 and 256 bits is there', async (kind) => {
    const app = await startApp({ variant, client: kind === 'public' ? { clientAuthentication: 'none' } : {} })
    app.provider.metadata = ({ code_challenge_methods_supported: _, ...metadata }) => metadata
    const { callback, asked } = await begin(app)
    await back(app, callback)
    const request = app.provider.requests.find(({ endpoint }) => endpoint === 'token')
    const verifier = String(request?.params.code_verifier)
    expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
    expect(asked.get('code_challenge')).toBe(createHash('sha256').update(verifier).digest('base64url'))
    expect(asked.get('code_challenge_method')).toBe('S256')
  })

  test('C3: nobody’s challenge or verifier takes the place of ours', async () => {
    const app = await startApp({ variant })
    const planted = { code_challenge: 'planted', code_challenge_method: 'plain', code_verifier: 'planted' }
    const { callback, asked } = await begin(app, `/oauth2authorize?${new URLSearchParams(planted)}`)
    expect(asked.get('code_challenge')).toMatch(/^[\w-]{43}$/)
    expect(asked.getAll('code_challenge_method')).toEqual(['S256'])
    expect(asked.has('code_verifier')).toBe(false)
    expect((await back(app, altered(callback, planted))).status).toBe(303)
    expect(app.provider.requests.at(-1)?.body).not.toContain('planted')
  })

  test('C4: the verifier goes to the token endpoint and nowhere else; of the rest only challenge, nonce and state are seen', async () => {
    const app = await startApp({ variant })
    await app.browser.goto(`${app.url}/profile`)
    const [request] = app.provider.requests.filter(({ endpoint }) => endpoint === 'token')
    const verifier = request?.params.code_verifier as string
    expect(verifier).toHaveLength(43)
    const seen = JSON.stringify(app.browser.log) + app.logs.text() + app.browser.received()
    expect(seen).not.toContain(verifier)
    const others = app.provider.requests.filter((one) => one !== request)
    expect(JSON.stringify(others)).not.toContain(verifier)
  })

  test.each<[string, (nonces: string[]) => string | undefined]>([
    ['missing', () => undefined],
    ['empty', () => ''],
    ['made up', () => 'x'.repeat(43)],
    ['that of another flow', ([first]) => first],
  ])('C5: an ID token whose nonce is %s signs nobody in', async (_name, nonce) => {
    const app = await startApp({ variant })
    const nonces: string[] = []
    app.provider.authorizeAnswer = (params) => {
      nonces.push(params.nonce as string)
      return undefined
    }
    await begin(app)
    const { callback } = await begin(app)
    expect(nonces).toHaveLength(2)
    app.provider.idTokenClaims = ({ nonce: _, ...claims }) => {
      const value = nonce(nonces)
      return value === undefined ? claims : { ...claims, nonce: value }
    }
    expect(answer(await back(app, callback))).toEqual(EXCHANGE_FAILED)
    expect((await app.browser.goto(`${app.url}/`)).json()).toMatchObject({ user: null, has: false })
  })

  test('C6: without openid there is no nonce, and an ID token that nobody asked for says nothing about anybody', async () => {
    const app = await startApp({ variant, client: { scopes: ['files.read'] } })
    app.provider.tokenAnswer = async (_params, defaults) => {
      const answered = await defaults()
      const claims = { iss: app.provider.issuer, aud: app.provider.clientId, sub: 'sub-eve', email: 'eve@example.com' }
      const now = Math.floor(Date.now() / 1000)
      return {
        ...answered,
        body: { ...answered.body, id_token: await app.provider.sign({ ...claims, iat: now, exp: now + 600 }) },
      }
    }
    const { callback, asked } = await begin(app, '/profile')
    expect(asked.has('nonce')).toBe(false)
    const page = await app.browser.goto(callback)
    expect(page.status).toBe(200)
    expect(page.body).not.toContain('eve')
    expect(page.json()).toMatchObject({ email: null })
  })

  test.each<[string, Answer | 'expired' | 'used' | 'foreign']>([
    ['expired', 'expired'],
    ['used before', 'used'],
    ['of somebody else’s flow', 'foreign'],
    ['refused with 403', { status: 403, body: { error: 'invalid_code' } }],
    ['refused with 200', { status: 200, body: { error: 'bad_verification_code', error_description: 'canary' } }],
    ['refused without a word', { status: 400, body: '' }],
  ])('C7: a code that is %s is tried once, and there is a way to start again', async (_name, how) => {
    const app = await startApp({ variant })
    app.provider.user = 'mallory'
    const foreign = new URL((await begin(app, undefined, { browser: new Browser() })).callback).searchParams.get('code')
    app.provider.user = 'alice'
    const { callback } = await begin(app, '/profile')
    if (typeof how === 'object') app.provider.tokenAnswer = () => how
    if (how === 'expired') {
      app.provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant', error_description: 'canary' } })
    }
    if (how === 'used') {
      app.provider.tokenAnswer = async (_params, defaults) => {
        await defaults()
        return { status: 400, body: { error: 'invalid_grant' } }
      }
    }
    const used = how === 'foreign' ? altered(callback, { code: foreign }) : callback
    const page = await back(app, used)
    expect(answer(page)).toEqual(EXCHANGE_FAILED)
    expect(page.body).toMatch(/<a class="way" href="\/oauth2authorize\?[^"]+">Start again</)
    expect(page.body).not.toContain('canary')
    // A second request with a code makes a strict server revoke what the first one brought.
    for (const again of [used, callback]) expect((await back(app, again)).status).toBe(400)
    expect(app.provider.count('token')).toBe(1)
    expect(flowCookies(app.browser)).toEqual([])
  })

  test('C8: a code of 10 kB with every special character arrives byte for byte', async () => {
    const app = await startApp({ variant })
    const odd = `a+b/c%d&e=f g"ü%2B\u0000${'x'.repeat(10_000)}`
    const { callback } = await begin(app)
    expect(answer(await back(app, altered(callback, { code: odd })))).toEqual(EXCHANGE_FAILED)
    const asked = app.provider.requests.at(-1)
    expect(asked?.allParams.getAll('code')).toEqual([odd])
  })
})

test('C4: verifiers, nonces and states of 10,000 flows are all different', async () => {
  const issuer = 'https://login.example'
  const provider = new Provider({
    provider: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
    },
    clientId: 'client',
  })
  const seen = new Set<string>()
  for (let flow = 0; flow < 10_000; flow++) {
    const { request, url } = await authorizationUrl(provider, {
      redirectUri: 'https://app.example/cb',
      scopes: ['openid'],
    })
    const values = [request.state, request.codeVerifier, request.nonce as string]
    for (const value of values) {
      expect(value.length).toBeGreaterThanOrEqual(43)
      seen.add(value)
    }
    if (url.includes(request.codeVerifier)) throw new Error('the verifier is in the address')
  }
  expect(seen.size).toBe(30_000)
})

describe('C9: the redirect URI of the token request is that of the authorization request', () => {
  describeEachSession((variant) => {
    test('though the app has another address by the time the person comes back', async () => {
      const shared = { store: new SlowSessionStore() }
      const same: SessionVariant = { ...variant, register: (app) => variant.register(app, shared) }
      const encryptionKeys = ['k'.repeat(40)]
      const before = await startApp({
        variant: same,
        client: { encryptionKeys, baseUrl: 'http://localhost:3998' },
      })
      const after = await startApp({
        variant: same,
        provider: before.provider,
        client: { encryptionKeys, baseUrl: 'http://localhost:3999' },
      })
      const { callback } = await begin(before)
      const page = await back(before, callback.replace('http://localhost:3998', after.url))
      expect([page.status, page.location]).toEqual([303, expect.stringMatching(/\/$/)])
      const request = before.provider.requests.find(({ endpoint }) => endpoint === 'token')
      expect(request?.params.redirect_uri).toBe('http://localhost:3998/oauth2callback')
    })

    test('though the request names another host', async () => {
      const app = await startApp({ variant })
      const { callback, asked } = await begin(app)
      const cookie = app.browser
        .cookies()
        .map(({ name, value }) => `${name}=${value}`)
        .join('; ')
      const { pathname, search } = new URL(callback)
      const answered = await app.app.inject({
        url: pathname + search,
        headers: { cookie, host: '127.0.0.1:1', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
      })
      expect(answered.statusCode).toBe(303)
      expect(answered.headers.location).toBe('/')
      const request = app.provider.requests.find(({ endpoint }) => endpoint === 'token')
      expect(request?.params.redirect_uri).toBe(asked.get('redirect_uri'))
    })
  })
})

describeEachSession((variant) => {
  test('C10: after a POST nobody is sent on with the body: sign-out is a 303, and a guard redirects no form', async () => {
    const app = await startApp({
      variant,
      storage: memoryStore(),
      routes(server) {
        server.addContentTypeParser('application/x-www-form-urlencoded', (_request, body, done) => {
          body.resume().on('end', () => done(null, {}))
        })
        server.get('/token', async ({ oauth2 }) => {
          await oauth2.load()
          return oauth2.xsrfToken
        })
      },
    })
    const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
    const refused = await app.browser.step(`${app.url}/notes`, form)
    expect([refused.status, refused.location]).toEqual([401, null])
    await app.browser.goto(`${app.url}/profile`)
    const token = (await app.browser.goto(`${app.url}/token`)).body
    const left = await app.browser.step(`${app.url}/oauth2logout`, {
      method: 'POST',
      headers: { 'x-csrf-token': token },
    })
    expect([left.status, left.location]).toEqual([303, expect.stringMatching(/\/$/)])
  })
})
