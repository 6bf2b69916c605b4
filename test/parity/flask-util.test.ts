// What apps on oauth2client's flask_util relied on, case by case (FL-1 to FL-18). None is left out. Inverted, because the
// original was unsafe: FL-4 (installed clients are accepted, on this machine only), FL-6 (the query reaches nothing but what
// is declared), FL-9 (state comes first, statuses tell causes apart, nothing that the provider said is shown).
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions, oauthAware, requireOAuth } from '../../src/index.js'
import { google } from '../../src/provider/presets/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import type { Answer, ScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
const paramsOf = (page: Page) => Object.fromEntries(new URL(page.location as string).searchParams)
const atCallback = (url: URL) => url.pathname === '/oauth2callback'

/** Routes that tell what a handler sees. */
const telling = (app: FastifyInstance, provider: ScriptedProvider) => {
  app.get('/state', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
    has: oauth2.hasCredentials(),
    token: oauth2.credentials?.accessToken ?? null,
    email: oauth2.email,
    userId: oauth2.userId,
    scopes: oauth2.scopes,
  }))
  app.get('/use', { onRequest: oauthAware() }, async ({ oauth2 }) =>
    (await oauth2.fetch(`${provider.issuer}/api/x`)).json(),
  )
  app.post('/revoke', { onRequest: oauthAware() }, ({ oauth2 }) => oauth2.revoke())
  app.post('/sign-out', { onRequest: oauthAware() }, async ({ oauth2 }) => {
    await oauth2.signOut()
    return { has: oauth2.hasCredentials() }
  })
}

async function register(options: Record<string, unknown>) {
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  app.register(oauth2Client, options as OAuth2ClientOptions)
  await app.ready()
  return app
}

function secretsFile(section: object, type = 'web'): string {
  const directory = mkdtempSync(join(tmpdir(), 'flask-util-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'client_secrets.json')
  writeFileSync(path, JSON.stringify({ [type]: section }))
  return path
}

const section = {
  client_id: 'from-the-file',
  client_secret: 'file-canary',
  redirect_uris: ['http://localhost/oauth2callback'],
  auth_uri: 'https://issuer.example/authorize',
  token_uri: 'https://issuer.example/token',
}
const clientIdOf = async (app: FastifyInstance) => {
  const { headers } = await app.inject({ url: '/oauth2authorize', headers: { host: 'localhost' } })
  return new URL(headers.location as string).searchParams.get('client_id')
}

test('FL-1 id and secret, or a file; arguments win over the file; nothing is an error', async () => {
  const { auth_uri: authorization_endpoint, token_uri: token_endpoint } = section
  const provider = { issuer: 'https://issuer.example', authorization_endpoint, token_endpoint }
  const clientSecretsFile = secretsFile(section)
  expect(await clientIdOf(await register({ provider, clientId: 'mine', clientSecret: 'x' }))).toBe('mine')
  expect(await clientIdOf(await register({ clientSecretsFile }))).toBe('from-the-file')
  expect(await clientIdOf(await register({ clientSecretsFile, clientId: 'mine', clientSecret: 'x' }))).toBe('mine')
  await expect(register({})).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
})

test('FL-2 guards may be made before the client is there, and find it when a request comes', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  const guard = requireOAuth('files.read')
  app.get('/early', { onRequest: guard }, async () => 'ok')
  app.get('/declared', { config: { oauth2: true } }, async () => 'ok')
  sessionVariants[0]?.register(app)
  app.register(oauth2Client, { clientSecretsFile: secretsFile(section) })
  for (const url of ['/early', '/declared']) expect((await app.inject(url)).statusCode).toBe(401)
})

test('FL-2 without any client, it says which one is missing', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  app.get('/', { onRequest: requireOAuth() }, async () => 'ok')
  expect((await app.inject('/')).json()).toMatchObject({ statusCode: 500, code: 'FST_OAUTH2_NOT_REGISTERED' })
})

test('FL-3 the storage and the scopes that are given are the ones that are used', async () => {
  const storage = memoryStore()
  const { browser, url, provider } = await startApp({ storage, client: { scopes: ['openid', 'own.scope'] } })
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ scopes: ['openid', 'own.scope'] })
  expect(provider.requests.find(({ endpoint }) => endpoint === 'authorize')?.params.scope).toBe('openid own.scope')
  expect(await storage.get('user/oauth2/sub-alice')).toMatchObject({ value: expect.any(String) })
})

test('FL-4 a file of another type is refused by name; an installed client works, on this machine only', async () => {
  const options = (type: string) => ({
    clientSecretsFile: secretsFile({ ...section, redirect_uris: ['http://localhost'] }, type),
  })
  await expect(register(options('service_account'))).rejects.toMatchObject({
    code: 'FST_OAUTH2_CLIENT_SECRETS_INVALID',
    message: expect.stringContaining('service_account'),
  })
  expect(await clientIdOf(await register(options('installed')))).toBe('from-the-file')
  await expect(register({ ...options('installed'), baseUrl: 'https://app.example' })).rejects.toThrow('redirect_uris')
})

test('FL-5 each flow has a state of its own that says nothing; extras of the options and of the link reach the provider', async () => {
  const { browser, url } = await startApp({
    client: { authorizationParams: { hd: 'example.com' } },
    routes: (app) => {
      app.get('/link', { onRequest: oauthAware() }, ({ oauth2 }) =>
        oauth2.authorizeUrl('/there', { prompt: 'select_account', loginHint: 'alice@example.com' }),
      )
    },
  })
  const [one, two] = [
    await browser.step(`${url}/oauth2authorize?return_url=/here`),
    await browser.step(`${url}/oauth2authorize`),
  ]
  expect(paramsOf(one)).toMatchObject({
    hd: 'example.com',
    redirect_uri: `${url}/oauth2callback`,
    response_type: 'code',
  })
  expect(paramsOf(one).state).not.toBe(paramsOf(two).state)
  expect(paramsOf(one).state).toMatch(/^[\w-]{20,}$/)
  expect(one.location).not.toContain('here')
  const link = (await browser.xhr(`${url}/link`)).body
  expect(paramsOf(await browser.step(url + link))).toMatchObject({
    hd: 'example.com',
    prompt: 'select_account',
    login_hint: 'alice@example.com',
  })
})

describe('FL-6 the authorize route', () => {
  test('FL-6 sends to the provider without the secret, and back to / or where it was told', async () => {
    const { browser, url, provider } = await startApp()
    const page = await browser.step(`${url}/oauth2authorize`)
    expect([page.status, page.location?.startsWith(`${provider.issuer}/authorize?`)]).toEqual([302, true])
    expect(page.location).not.toContain(provider.clientSecret)
    expect((await browser.goto(`${url}/oauth2authorize`)).url).toBe(`${url}/`)
    expect(
      (await browser.goto(`${url}/oauth2authorize?return_url=${encodeURIComponent('/profile?a=1&b=2')}`)).url,
    ).toBe(`${url}/profile?a=1&b=2`)
  })

  test('FL-6 inverted: no other parameter of the query reaches anything', async () => {
    const { browser, url, provider } = await startApp()
    const evil = 'https://evil.example/x'
    const query = new URLSearchParams({
      auth_uri: evil,
      token_uri: evil,
      authorization_endpoint: evil,
      token_endpoint: evil,
      issuer: evil,
      client_id: 'evil',
      client_secret: 'evil',
      redirect_uri: evil,
      state: 'evil',
      response_type: 'token',
      response_mode: 'fragment',
      prompt: 'none',
      access_type: 'online',
      nonce: 'evil',
      code_challenge: 'evil',
      code_challenge_method: 'plain',
      login_hint: 'evil',
      __proto__: 'evil',
    })
    const plain = await browser.step(`${url}/oauth2authorize`)
    const page = await browser.step(`${url}/oauth2authorize?${query}`)
    expect(page.location).not.toContain('evil')
    const own = ({ state, nonce, code_challenge, ...rest }: Record<string, string>) => rest
    expect(own(paramsOf(page))).toEqual(own(paramsOf(plain)))
    expect((await browser.goto(`${url}/oauth2authorize?${query}`)).url).toBe(`${url}/`)
    expect(provider.count('token')).toBe(1)
  })

  test.each([
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    '/%09/evil.example'.replace('%09', '\t'),
    'javascript:alert(1)',
    '/.//evil.example',
    'evil',
  ])('FL-6 inverted: %j is nowhere to go back to, and neither is the Referer', async (target) => {
    const { browser, url } = await startApp()
    const page = await browser.goto(`${url}/oauth2authorize?return_url=${encodeURIComponent(target)}`, {
      headers: { referer: 'https://evil.example/page' },
      from: 'https://evil.example/page',
    })
    expect(page.url).toBe(`${url}/`)
  })
})

test('FL-7 the callback exchanges the code once, with the secret, stores, and sends back', async () => {
  const storage = memoryStore()
  const { browser, url, provider } = await startApp({ storage })
  const page = await browser.goto(`${url}/profile?x=1`)
  expect(page.chain.map(({ status }) => status)).toEqual([302, 302, 303, 200])
  expect(page.url).toBe(`${url}/profile?x=1`)
  const exchanges = provider.requests.filter(({ endpoint }) => endpoint === 'token')
  expect(exchanges).toHaveLength(1)
  expect(exchanges[0]?.params).toMatchObject({
    grant_type: 'authorization_code',
    code: expect.stringContaining('code-canary'),
    client_secret: provider.clientSecret,
    redirect_uri: `${url}/oauth2callback`,
    code_verifier: expect.stringMatching(/^[\w-]{43,128}$/),
  })
  expect(exchanges[0]?.params).not.toHaveProperty('scope')
  expect(await storage.get('user/oauth2/sub-alice')).toBeDefined()
})

test('FL-8 the hook runs once, after storing and before the person is sent back', async () => {
  const storage = memoryStore()
  const seen: unknown[] = []
  const { browser, url } = await startApp({
    storage,
    client: {
      onAuthorized: async (request, { credentials, user, returnUrl, claims }) => {
        const stored = await storage.get('user/oauth2/sub-alice')
        const { oauth2 } = request
        await oauth2.load()
        seen.push([stored !== undefined, oauth2.userId, credentials.userId, user, returnUrl, claims?.sub])
      },
    },
  })
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(seen).toEqual([[true, 'sub-alice', 'sub-alice', 'sub-alice', '/profile', 'sub-alice']])
})

describe('FL-9 callbacks that fail', () => {
  const html = '<script>alert("canary")</script>'
  const DENIED = [403, 'FST_OAUTH2_ACCESS_DENIED']
  const STATE = [400, 'FST_OAUTH2_STATE_INVALID']

  test.each([
    ['access_denied', DENIED],
    ['server_error', [502, 'FST_OAUTH2_EXCHANGE_FAILED']],
    ['temporarily_unavailable', [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']],
    ['invalid_scope', [500, 'FST_OAUTH2_CLIENT_REJECTED']],
    [html, [400, 'FST_OAUTH2_AUTHORIZATION_FAILED']],
  ])('FL-9 the provider says %s: the person learns what to do, and nothing that it wrote', async (error, expected) => {
    const { browser, url, provider, logs } = await startApp()
    provider.authorizeAnswer = ({ state }, defaults) => ({
      iss: defaults().iss as string,
      state: state as string,
      error,
      error_description: html,
    })
    const page = await browser.goto(`${url}/profile`)
    expect(codeOf(page)).toEqual(expected)
    expect(page.body + logs.text()).not.toContain('canary')
    expect(page.body).toContain('Start again')
    expect(provider.count('token')).toBe(0)
  })

  test.each(['not JSON', 'null', '5', '[]', '{"csrf_token":"x","return_url":"/"}', '"x"', '', '__proto__'])(
    'FL-9 state %j was never ours',
    async (state) => {
      const { browser, url, provider } = await startApp()
      const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
      const callback = new URL(pending.location as string)
      callback.searchParams.set('state', state)
      expect(codeOf(await browser.step(callback))).toEqual(STATE)
      expect(provider.count('token')).toBe(0)
      // The flow that is under way is not harmed by it.
      expect((await browser.goto(pending.location as string)).status).toBe(200)
    },
  )

  test('FL-9 no state, no code, another browser, no flow', async () => {
    const { browser, url, provider } = await startApp()
    const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
    const without = (name: string) => {
      const callback = new URL(pending.location as string)
      callback.searchParams.delete(name)
      return callback
    }
    expect(codeOf(await browser.step(without('state')))).toEqual(STATE)
    expect(codeOf(await browser.step(without('code')))).toEqual(STATE)
    expect(codeOf(await new Browser().step(pending.location as string))).toEqual(STATE)
    for (const { name } of browser.cookies()) if (name.includes('flow')) browser.deleteCookie('localhost', name)
    expect(codeOf(await browser.step(pending.location as string))).toEqual(STATE)
    expect(provider.count('token')).toBe(0)
  })

  test.each<[string, Answer, (string | number)[]]>([
    ['500', { status: 500, body: html }, [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']],
    [
      '400',
      { status: 400, body: { error: 'invalid_grant', error_description: html } },
      [502, 'FST_OAUTH2_EXCHANGE_FAILED'],
    ],
    ['a cut connection', { destroy: true }, [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']],
    [
      'an ID token that is none',
      { body: { access_token: 'at', token_type: 'Bearer', id_token: html } },
      [502, 'FST_OAUTH2_EXCHANGE_FAILED'],
    ],
  ])('FL-9 the exchange ends in %s: nothing stored, nothing shown', async (_name, answer, expected) => {
    const storage = memoryStore()
    const { browser, url, provider, logs } = await startApp({ storage })
    provider.tokenAnswer = () => answer
    const page = await browser.goto(`${url}/profile`)
    expect(codeOf(page)).toEqual(expected)
    expect(page.body + logs.text()).not.toContain('canary&quot;')
    expect(page.body + logs.text()).not.toContain('alert(')
    expect(await storage.get('user/oauth2/sub-alice')).toBeUndefined()
  })
})

test('FL-10 no credentials: nothing is there, using them is a coded error, removing them harmless', async () => {
  const { browser, url } = await startApp({ routes: telling })
  expect((await browser.xhr(`${url}/state`)).json()).toEqual({
    has: false,
    token: null,
    email: null,
    userId: null,
    scopes: [],
  })
  expect(codeOf(await browser.xhr(`${url}/use`))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({
    local: false,
    remote: 'unsupported',
  })
  expect((await browser.xhr(`${url}/sign-out`, { method: 'POST' })).json()).toEqual({ has: false })
})

test('FL-11 with credentials: the token, who it is, and an HTTP client that carries it', async () => {
  const { browser, url, provider } = await startApp({ routes: telling })
  await browser.goto(`${url}/profile`)
  const state = (await browser.xhr(`${url}/state`)).json()
  expect(state).toMatchObject({
    has: true,
    email: 'alice@example.com',
    userId: 'sub-alice',
    scopes: ['openid', 'email'],
  })
  expect(provider.isValidAccessToken(state.token)).toBe(true)
  expect((await browser.xhr(`${url}/use`)).json()).toMatchObject({ ok: true, sub: 'sub-alice' })
})

describe('FL-12 and FL-14 what counts as credentials', () => {
  test.each([
    ['none', undefined, 0, 302],
    ['a token with time left', 'always', 0, 200],
    ['an expired one with a refresh token', 'always', HOUR, 200],
    ['an expired one without', 'never', HOUR, 302],
  ] as const)('FL-14 %s', async (_name, policy, later, status) => {
    const { browser, url, provider, clock } = await startApp({ routes: telling })
    if (policy) {
      provider.refreshTokenPolicy = policy
      await browser.goto(`${url}/profile`)
    }
    clock.advance(later)
    // FL-12
    expect((await browser.xhr(`${url}/state`)).json().has).toBe(status === 200)
    const page = await browser.step(`${url}/profile?x=1`)
    expect(page.status).toBe(status)
    if (status === 302) expect((await browser.goto(`${url}/profile?x=1`)).url).toBe(`${url}/profile?x=1`)
  })
})

test('FL-13 an ID token without an address gives null, and nothing breaks', async () => {
  const { browser, url, provider } = await startApp({ routes: telling })
  provider.idTokenClaims = ({ email: _, ...claims }) => claims
  provider.userinfoAnswer = () => ({ body: { sub: 'sub-alice' } })
  await browser.goto(`${url}/profile`)
  expect((await browser.xhr(`${url}/state`)).json()).toMatchObject({ has: true, email: null, userId: 'sub-alice' })
})

test('FL-15 incremental: the union is asked for, what was granted stays, what is missing is asked for when needed', async () => {
  const { browser, url, provider } = await startApp({
    client: ({ issuer }) => ({ provider: google({ issuer }) }),
    routes: (app) => {
      app.get('/one', { onRequest: requireOAuth('one') }, async ({ oauth2 }) => oauth2.scopes)
      app.get('/two', { onRequest: requireOAuth(['two', 'three']) }, async ({ oauth2 }) => oauth2.scopes)
    },
  })
  expect((await browser.goto(`${url}/one`)).json()).toEqual(['openid', 'email', 'one'])
  expect((await browser.step(`${url}/one`)).status).toBe(200)
  const page = await browser.step(`${url}/two`)
  expect(page.status).toBe(302)
  expect(new Set(paramsOf(page).scope?.split(' '))).toEqual(new Set(['openid', 'email', 'one', 'two', 'three']))
  expect(paramsOf(page).include_granted_scopes).toBe('true')
  // Only some of it: /two passes, and /one has to ask again.
  provider.grant = (scopes) => scopes.filter((scope) => scope !== 'one')
  const other = new Browser()
  expect((await other.goto(`${url}/two`)).json()).toEqual(['openid', 'email', 'two', 'three'])
  expect((await other.step(`${url}/one`)).status).toBe(302)
})

test('FL-16 what is in the credential is what was granted, not what was asked for', async () => {
  const { browser, url, provider } = await startApp({ routes: telling })
  await browser.goto(`${url}/files`)
  expect((await browser.xhr(`${url}/state`)).json().scopes).toEqual(['openid', 'email', 'files.read'])
  provider.grant = (scopes) => scopes.filter((scope) => scope !== 'calendar.read')
  await browser.goto(`${url}/calendar`)
  expect((await browser.xhr(`${url}/state`)).json().scopes).toEqual(['openid', 'email', 'files.read'])
})

test.each(['session', 'store'] as const)('FL-17 a refresh writes back to the %s', async (kind) => {
  const { browser, url, provider, clock } = await startApp({
    routes: telling,
    storage: kind === 'store' ? memoryStore() : 'session',
  })
  await browser.goto(`${url}/profile`)
  const before = (await browser.xhr(`${url}/state`)).json().token
  clock.advance(HOUR)
  await browser.goto(`${url}/profile`)
  const after = (await browser.xhr(`${url}/state`)).json().token
  expect(after).not.toBe(before)
  expect(provider.isValidAccessToken(after)).toBe(true)
  expect(provider.count('token', 'refresh_token')).toBe(1)
})

test.each(['/revoke', '/sign-out'])('FL-18 %s takes the credentials out of the session', async (path) => {
  const store = new SlowSessionStore(0)
  const slow = sessionVariants[1] as SessionVariant
  const { browser, url, provider } = await startApp({
    routes: telling,
    variant: { ...slow, register: (app) => slow.register(app, { store }) },
  })
  await browser.goto(`${url}/profile`)
  expect([...store.records.values()].join()).toContain('"oauth2client:credentials.')
  const thief = browser.clone()
  await browser.xhr(url + path, { method: 'POST' })
  expect([...store.records.values()].join()).not.toContain('"oauth2client:credentials.')
  for (const who of [browser, thief]) expect((await who.xhr(`${url}/state`)).json().has).toBe(false)
  expect(provider.count('revoke')).toBe(path === '/revoke' ? 1 : 0)
})
