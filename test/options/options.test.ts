import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions, oauthAware, requireOAuth } from '../../src/index.js'
import { resolveOptions } from '../../src/resolve-options.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const base = { provider: { issuer: 'https://issuer.example' }, clientId: 'client', clientSecret: 'secret-canary' }
const written = {
  issuer: 'https://issuer.example',
  authorization_endpoint: 'https://issuer.example/authorize',
  token_endpoint: 'https://issuer.example/token',
}
const key = 'k'.repeat(32)

const unhandled: unknown[] = []
const note = (reason: unknown) => unhandled.push(reason)
process.on('unhandledRejection', note)
afterEach(() => vi.unstubAllEnvs())
afterAll(async () => {
  // Rejections are reported once everything that could still handle them has run.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

/** Anything at all may be written by people who do not use TypeScript. */
type Written = Record<string, unknown>

async function register(options: Written, parent?: (app: FastifyInstance) => void): Promise<FastifyInstance> {
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  parent?.(app)
  app.register(oauth2Client, options as OAuth2ClientOptions)
  await app.ready()
  return app
}

async function problemOf(options: Written): Promise<string> {
  const error = await register(options).then(
    () => undefined,
    (reason: Error) => reason,
  )
  expect(error, 'registration should have failed').toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('canary')
  return (error as Error).message
}

const accepted = (options: Written) => resolveOptions({ ...base, ...options } as OAuth2ClientOptions)

test('defaults', () => {
  expect(accepted({})).toMatchObject({
    name: 'oauth2',
    baseUrl: undefined,
    redirectUri: undefined,
    scopes: ['openid', 'email'],
    optionalScopes: [],
    includeGrantedScopes: true,
    offline: 'preferred',
    authorizePath: '/oauth2authorize',
    callbackPath: '/oauth2callback',
    logoutPath: '/oauth2logout',
    routes: true,
    logout: true,
    routeOptions: {},
    store: undefined,
    userKey: undefined,
    resolveUser: undefined,
    loginPath: undefined,
    accountSwitch: 'replace',
    allowedOrigins: ['https://issuer.example'],
    authorizationParams: {},
    refreshBeforeExpiry: 60,
    backgroundRefresh: true,
    hook: 'onRequest',
    clock: Date.now,
    temporaryKeys: false,
    provider: { timeout: 10_000 },
  })
})

test('resolved options are frozen, and later changes to what was written do not reach them', () => {
  const raw = { ...base, scopes: ['a'], allowedOrigins: ['https://api.example'], authorizationParams: { hd: 'x' } }
  const resolved = resolveOptions(raw)
  raw.scopes.push('b')
  raw.allowedOrigins.push('https://evil.example')
  raw.authorizationParams.hd = 'y'
  expect(Object.isFrozen(resolved)).toBe(true)
  expect(() => Object.assign(resolved, { scopes: [] })).toThrow(TypeError)
  expect(resolved).toMatchObject({
    scopes: ['a'],
    allowedOrigins: ['https://api.example', 'https://issuer.example'],
    authorizationParams: { hd: 'x' },
  })
})

test.each<[string, Written, Written]>([
  [
    'name',
    { name: 'github' },
    { name: 'github', callbackPath: '/oauth2callback/github', logoutPath: '/oauth2logout/github' },
  ],
  ['scopes as text', { scopes: 'a b a' }, { scopes: ['a', 'b'] }],
  ['no scopes', { scopes: [] }, { scopes: [] }],
  ['endpoints without keys: no ID token', { provider: written }, { scopes: [] }],
  ['optionalScopes', { optionalScopes: 'x y' }, { optionalScopes: ['x', 'y'] }],
  ['includeGrantedScopes', { includeGrantedScopes: false }, { includeGrantedScopes: false }],
  ['offline required', { offline: 'required' }, { offline: 'required' }],
  ['offline false', { offline: false }, { offline: false }],
  ['paths', { authorizePath: '/in', callbackPath: '/cb/a.b', logoutPath: '/out' }, { callbackPath: '/cb/a.b' }],
  ['baseUrl', { baseUrl: 'https://app.example' }, { redirectUri: 'https://app.example/oauth2callback' }],
  [
    'baseUrl with a path',
    { baseUrl: 'https://app.example/a/' },
    { redirectUri: 'https://app.example/a/oauth2callback' },
  ],
  [
    'http on this machine',
    { baseUrl: 'http://127.0.0.1:3000' },
    { redirectUri: 'http://127.0.0.1:3000/oauth2callback' },
  ],
  [
    'redirectUri',
    { redirectUri: 'https://app.example/oauth2callback' },
    { redirectUri: 'https://app.example/oauth2callback' },
  ],
  ['userKey: no logout route', { userKey: () => 'u' }, { logout: false }],
  ['userKey with logout', { userKey: () => 'u', logout: true }, { logout: true }],
  ['loginPath', { loginPath: '/login?from=oauth' }, { loginPath: '/login?from=oauth' }],
  ['accountSwitch', { accountSwitch: 'refuse' }, { accountSwitch: 'refuse' }],
  ['refreshBeforeExpiry 0', { refreshBeforeExpiry: 0 }, { refreshBeforeExpiry: 0 }],
  ['backgroundRefresh', { backgroundRefresh: false }, { backgroundRefresh: false }],
  ['hook', { hook: 'preHandler' }, { hook: 'preHandler' }],
  ['timeout', { timeout: 1 }, { provider: { timeout: 1 } }],
  ['storage', { storage: 'session' }, { store: undefined }],
  [
    'an undefined option is one that is not written',
    { scopes: undefined, storage: undefined },
    { scopes: ['openid', 'email'] },
  ],
  [
    'allowedOrigins as people write them',
    { allowedOrigins: ['https://API.example:443/', 'https://*.Example.org', 'http://localhost:8080'] },
    {
      allowedOrigins: [
        'https://api.example',
        'https://*.example.org',
        'http://localhost:8080',
        'https://issuer.example',
      ],
    },
  ],
])('accepted: %s', (_name, options, resolved) => {
  expect(accepted(options)).toMatchObject(resolved)
})

describe('L1: refused at registration, by name', () => {
  const function_ = () => {}
  test.each<[option: string, value: unknown, says: RegExp]>([
    ['name', 'my client', /identifier/],
    ['name', 'a-b', /identifier/],
    ['name', 'log', /taken/],
    ['name', 'body', /taken/],
    ['name', 'constructor', /taken/],
    ['name', '__proto__', /taken/],
    ['provider', 'google', /object/],
    ['provider', function_, /object/],
    ['provider', {}, /absolute URL/],
    ['provider', { issuer: 'issuer.example' }, /absolute URL/],
    ['provider', { issuer: 'http://issuer.example' }, /https/],
    ['provider', { issuer: 'http://localhost.evil.example' }, /https/],
    ['provider', { issuer: 'http://10.0.0.1' }, /https/],
    ['provider', { ...written, token_endpoint: 'http://issuer.example/token' }, /provider\.token_endpoint.*https/],
    ['provider', { ...written, token_endpoint: undefined }, /token_endpoint/],
    ['provider', { ...written, authorization_endpoint: undefined }, /authorization_endpoint/],
    ['clientId', 5, /string/],
    ['clientId', '', /environment variable/],
    ['clientSecret', '', /environment variable/],
    ['clientSecret', { secret: 'canary' }, /string/],
    ['clientSecretsFile', ['x'], /string/],
    ['clientAuthentication', 'basic', /client_secret_basic/],
    ['clientAuthentication', 'private_key_jwt', /PrivateKeyJwt/],
    ['clientAuthentication', 5, /client_secret_post/],
    ['dpop', 'ES256', /true, false or \{ algorithm \}/],
    ['dpop', { algorithm: 'RS256' }, /ES256/],
    ['certificateBoundTokens', 'yes', /boolean/],
    ['baseUrl', 'app.example', /https/],
    ['baseUrl', 'http://app.example', /https/],
    ['baseUrl', 'https://app.example?x=1', /query/],
    ['baseUrl', 'https://app.example#x', /fragment/],
    ['baseUrl', 'https://user@app.example', /user name/],
    ['baseUrl', 'javascript:alert(1)', /https/],
    ['redirectUri', 'http://app.example/oauth2callback', /https/],
    ['redirectUri', 'https://app.example/callback', /callbackPath/],
    ['redirectUri', 'https://app.example/', /callbackPath/],
    ['scopes', { a: 1 }, /array/],
    ['scopes', ['a b'], /not a scope/],
    ['scopes', ['a', 1], /not a scope/],
    ['optionalScopes', ['"'], /not a scope/],
    ['includeGrantedScopes', 'yes', /boolean/],
    ['offline', true, /"preferred", "required", false/],
    ['authorizePath', 'oauth2authorize', /path/],
    ['authorizePath', '/a?b=1', /path/],
    ['callbackPath', '/cb/:name', /path/],
    ['callbackPath', '/cb/*', /path/],
    ['logoutPath', 'https://app.example/logout', /path/],
    ['routes', 'none', /boolean/],
    ['logout', 1, /boolean/],
    ['onLogout', () => {}, /"backchannelLogout: true"/],
    ['routeOptions', 5, /object/],
    ['storage', 'memory', /credential store/],
    ['storage', {}, /credential store/],
    ['storage', new Map(), /credential store/],
    ['storage', memoryStore, /credential store/],
    ['encryptionKeys', 'short-canary', /32/],
    ['encryptionKeys', '', /is empty.*environment variable.*npx fastify-oauth2client keygen/],
    ['encryptionKeys', [], /at least one/],
    ['encryptionKeys', [key, 'short'], /32/],
    ['encryptionKeys', [undefined], /string or bytes/],
    ['encryptionKeys', 5, /string or bytes/],
    ['userKey', 'id', /function/],
    ['loginPath', 'https://app.example/login', /path/],
    ['loginPath', '//evil.example', /path/],
    ['resolveUser', {}, /function/],
    ['accountSwitch', 'ask', /"replace", "refuse"/],
    ['allowedOrigins', 'https://api.example', /array/],
    ['allowedOrigins', ['*'], /https origin/],
    ['allowedOrigins', ['https://*'], /https origin/],
    ['allowedOrigins', ['api.example'], /https origin/],
    ['allowedOrigins', ['http://api.example'], /https origin/],
    ['allowedOrigins', ['https://api.example/v1'], /https origin/],
    ['allowedOrigins', ['https://user:password@api.example'], /https origin: https:\/\/…@api\.example$/],
    ['allowedOrigins', [5], /https origin/],
    ['authorizationParams', 'prompt=consent', /object/],
    ['authorizationParams', { state: 'x' }, /"state", which belongs to the flow/],
    ['authorizationParams', { response_mode: 'form_post' }, /use the option "responseMode"/],
    ['authorizationParams', { redirect_uri: 'x' }, /"redirect_uri"/],
    ['authorizationParams', { code_challenge_method: 'plain' }, /"code_challenge_method"/],
    ['authorizationParams', { max_age: 5 }, /"max_age".*string/],
    ['onAuthorized', 'x', /function/],
    ['onError', true, /function/],
    ['onCredentialsChanged', [], /function/],
    ['refreshBeforeExpiry', -1, /at least 0/],
    ['refreshBeforeExpiry', '60', /number/],
    ['refreshBeforeExpiry', Number.NaN, /number/],
    ['backgroundRefresh', 0, /boolean/],
    ['fetch', {}, /function/],
    ['timeout', 0, /milliseconds/],
    ['timeout', 1.5, /milliseconds/],
    ['timeout', '10s', /milliseconds/],
    ['timeout', Number.POSITIVE_INFINITY, /milliseconds/],
    ['timeout', 2 ** 31, /milliseconds/],
    ['clock', 0, /function/],
    ['hook', 'preParsing', /"onRequest", "preValidation", "preHandler"/],
    // Near misses, and what belongs elsewhere.
    ['scope', 'a', /"scopes"/],
    ['redirectURI', 'x', /"redirectUri"/],
    ['callbackUri', 'x', /"redirectUri"/],
    ['callbackUrl', 'x', /"redirectUri"/],
    ['redirect_uri', 'x', /is called "redirectUri"/],
    ['client_id', 'x', /is called "clientId"/],
    ['clientID', 'x', /is called "clientId"/],
    ['baseURL', 'x', /is called "baseUrl"/],
    ['issuer', 'https://issuer.example', /provider/],
    ['clientSecrets', {}, /clientSecretsFile/],
    ['store', memoryStore(), /"storage"/],
    ['prefix', '/auth', /authorizePath/],
    ['logLevel', 'warn', /routeOptions/],
    ['constructor', 1, /not known/],
    ['whatever', 1, /Known are: name, provider,/],
  ])('%s: %j', async (option, value, says) => {
    const message = await problemOf({ ...base, [option]: value })
    expect(message).toMatch(new RegExp(`Option "${option}`))
    expect(message).toMatch(says)
  })

  test.each(['name', 'provider', 'scopes', 'storage', 'clientAuthentication', 'encryptionKeys', 'timeout', 'hook'])(
    '%s: null is not a way to leave it out',
    async (option) => {
      expect(await problemOf({ ...base, [option]: null })).toMatch(new RegExp(`Option "${option}": is null`))
    },
  )

  test.each<[string, Written, RegExp]>([
    [
      'a logout at the provider without our route',
      { ...base, providerLogout: true, routes: false },
      /"providerLogout".*endSessionUrl/,
    ],
    [
      'the same with users of the app',
      { ...base, providerLogout: true, userKey: () => 'u' },
      /"providerLogout".*"logout: true"/,
    ],
    ['no options at all', {}, /"clientId".*clientSecretsFile/],
    ['no provider', { clientId: 'client', clientSecret: 'canary' }, /"provider".*google\(\)/],
    [
      'two callbacks',
      { ...base, baseUrl: 'https://a.example', redirectUri: 'https://a.example/oauth2callback' },
      /exclude/,
    ],
    [
      'another kind of rotation',
      { ...base, provider: { issuer: 'https://issuer.example', refresh: { rotation: 'never' as 'none' } } },
      /"provider.refresh.rotation".*"none", "rotating", "strict"/,
    ],
    [
      'a grace period in words',
      {
        ...base,
        provider: {
          issuer: 'https://issuer.example',
          refresh: { rotation: 'strict', grace: '30s' as unknown as number },
        },
      },
      /"provider.refresh.grace".*seconds/,
    ],
    ['ID tokens that nobody could verify', { ...base, provider: written, scopes: 'openid' }, /jwks_uri/],
    [
      'a secret is missing',
      { ...base, clientSecret: undefined, clientAuthentication: 'client_secret_basic' },
      /"clientSecret"/,
    ],
  ])('%s', async (_name, options, says) => {
    expect(await problemOf(options)).toMatch(says)
  })

  test('a store that others can read, without keys', async () => {
    const { get, put, delete: remove } = memoryStore()
    const message = await problemOf({ ...base, storage: { get, put, delete: remove } })
    expect(message).toMatch(/"encryptionKeys".*npx fastify-oauth2client keygen/)
    expect(accepted({ storage: { get, put, delete: remove }, encryptionKeys: key }).store).toBeDefined()
    expect(accepted({ storage: memoryStore() }).store).toBeDefined()
  })

  test('the same name twice in one context; a child may shadow it', async () => {
    const twice = register(base, (app) => app.register(oauth2Client, base))
    await expect(twice).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringMatching(/"name".*"oauth2" is taken/),
    })
    const paths = { authorizePath: '/in', callbackPath: '/cb', logoutPath: '/out' }
    const app = await register(base, (parent) => {
      parent.register(async (child) => {
        child.register(oauth2Client, { ...base, ...paths })
        child.after(() => expect(child.oauth2.callbackPath).toBe('/cb'))
      })
    })
    expect(app.oauth2.callbackPath).toBe('/oauth2callback')
  })

  test('a guard with something that is not a scope, or with unknown options, throws when it is made', () => {
    const invalid = (message: RegExp) =>
      expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringMatching(message) })
    expect(() => requireOAuth(['a b'])).toThrow(invalid(/requireOAuth\(scopes\)/))
    expect(() => requireOAuth('a', { scope: 'b' } as never)).toThrow(invalid(/requireOAuth\(\{ scope \}\)/))
    expect(() => oauthAware({ maxAge: 300 } as never)).toThrow(invalid(/lets everybody pass/))
    expect(() => oauthAware({ client: '' })).toThrow(invalid(/oauthAware\(\{ client \}\)/))
  })
})

describe('production', () => {
  const publicClient = { provider: base.provider, clientId: base.clientId }
  const baseUrl = 'https://app.example'

  test('the public origin is required: it is not guessed from what a stranger can send', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    expect(await problemOf(base)).toMatch(/"baseUrl".*https:\/\/app\.example\.com/)
    expect(accepted({ baseUrl }).redirectUri).toBe(`${baseUrl}/oauth2callback`)
    expect(accepted({ redirectUri: `${baseUrl}/oauth2callback` }).baseUrl?.origin).toBe(baseUrl)
  })

  test('a client without a secret needs keys, elsewhere it gets some that end with the process', async () => {
    expect(resolveOptions(publicClient).temporaryKeys).toBe(true)
    vi.stubEnv('NODE_ENV', 'production')
    expect(await problemOf({ ...publicClient, baseUrl })).toMatch(/"encryptionKeys".*without a secret/)
    expect(resolveOptions({ ...publicClient, baseUrl, encryptionKeys: key }).temporaryKeys).toBe(false)
  })

  test('elsewhere the callback comes from a loopback Host header, and from no other', async () => {
    const app = await register({ ...base, provider: written })
    const redirectUri = async (host: string, headers = {}) => {
      const response = await app.inject({ url: '/oauth2authorize', headers: { host, ...headers } })
      const { location } = response.headers
      return location ? new URL(location).searchParams.get('redirect_uri') : response.statusCode
    }
    expect(await redirectUri('localhost:3000')).toBe('http://localhost:3000/oauth2callback')
    expect(await redirectUri('localhost:3000', { 'x-forwarded-host': 'evil.example' })).toContain('localhost')
    for (const host of ['evil.example', 'localhost.evil.example', 'localhost@evil.example', '127.0.0.1.evil.example']) {
      expect(await redirectUri(host)).toBe(500)
    }
  })
})

test('redirect_uris of the file decide which callback is possible', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'options-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const clientSecretsFile = join(directory, 'client_secrets.json')
  const web = {
    client_id: 'from-file',
    client_secret: 'file-canary',
    redirect_uris: ['https://app.example/oauth2callback'],
    auth_uri: 'https://issuer.example/authorize',
    token_uri: 'https://issuer.example/token',
    revoke_uri: 'https://issuer.example/revoke',
  }
  writeFileSync(clientSecretsFile, JSON.stringify({ web }))
  const resolve = (options: Written) => resolveOptions({ clientSecretsFile, ...options } as OAuth2ClientOptions)
  expect(resolve({ baseUrl: 'https://app.example' }).provider).toMatchObject({
    clientId: 'from-file',
    clientSecret: 'file-canary',
    options: { revocation_endpoint: web.revoke_uri },
  })
  expect(await problemOf({ clientSecretsFile, baseUrl: 'https://b.example' })).toMatch(
    /b\.example.*redirect_uris.*app\.e/,
  )
  // Somebody else's secret is worse than none.
  expect(resolve({ clientId: 'another', baseUrl: 'https://app.example' }).provider.clientSecret).toBeUndefined()
  expect(resolve({ clientId: 'from-file', baseUrl: 'https://app.example' }).provider.clientSecret).toBe('file-canary')
  expect(resolve({ clientSecret: 'x', baseUrl: 'https://app.example' }).provider.clientSecret).toBe('x')
})

describe('effects', () => {
  const query = async (client: Partial<OAuth2ClientOptions>, path = '/oauth2authorize') => {
    const { browser, url } = await startApp({ client })
    const { location, status } = await browser.step(url + path)
    return { status, location, params: Object.fromEntries(location ? new URL(location).searchParams : []) }
  }

  test('authorizationParams are sent with every request', async () => {
    const { params } = await query({ authorizationParams: { hd: 'example.com', prompt: 'select_account' } })
    expect(params).toMatchObject({ hd: 'example.com', prompt: 'select_account', scope: 'openid email' })
  })

  test('optionalScopes and those of guards may be asked for, others not', async () => {
    expect((await query({ optionalScopes: 'x' }, '/oauth2authorize?scope=x')).params.scope).toBe('openid email x')
    expect((await query({}, '/oauth2authorize?scope=x')).status).toBe(400)
  })

  test('routes: false mounts none, logout: false no logout', async () => {
    const none = await register({ ...base, routes: false })
    expect(none.printRoutes()).not.toContain('oauth2')
    const some = await register({ ...base, logout: false })
    expect(some.hasRoute({ method: 'GET', url: '/oauth2callback' })).toBe(true)
    expect(some.hasRoute({ method: 'POST', url: '/oauth2logout' })).toBe(false)
  })

  test('routeOptions reach our routes, and cannot bring a HEAD route along', async () => {
    const seen: string[] = []
    const app = await register({
      ...base,
      routeOptions: {
        config: { mine: true },
        onRequest: async (request: { url: string }) => void seen.push(request.url),
      },
    })
    expect((await app.inject('/oauth2callback')).statusCode).toBe(400)
    // A link preview that asks with HEAD must not use up a code.
    expect((await app.inject({ method: 'HEAD', url: '/oauth2callback?code=x&state=y' })).statusCode).toBe(405)
    expect(seen).toEqual(['/oauth2callback'])
  })

  test('paths are those of the context that the plugin is registered in', async () => {
    const app = await register(base, (parent) => {
      parent.register(async (child) => void child.register(oauth2Client, { ...base, name: 'inner' }), { prefix: '/p' })
    })
    expect(app.hasRoute({ method: 'GET', url: '/p/oauth2callback/inner' })).toBe(true)
  })

  test.each([1001, 4567, 2_147_483_647])('a timeout of %i ms works at every endpoint', async (timeout) => {
    const { browser, url, provider } = await startApp({ client: { timeout } })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(provider.count('token')).toBe(1)
  })
})

describe('clientAuthentication, as the token endpoint sees it', () => {
  const signIn = async (client: Partial<OAuth2ClientOptions>) => {
    const { browser, url, provider } = await startApp({ client })
    const page = await browser.goto(`${url}/profile`)
    const request = provider.requests.find(({ endpoint }) => endpoint === 'token')
    const { client_id, client_secret } = request?.params ?? {}
    return { status: page.status, authorization: request?.headers.authorization, client_id, client_secret, provider }
  }
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  test.each([undefined, 'client_secret_post'] as const)('%s: in the body', async (clientAuthentication) => {
    const { provider, ...seen } = await signIn(clientAuthentication ? { clientAuthentication } : {})
    expect(seen).toEqual({
      status: 200,
      authorization: undefined,
      client_id: provider.clientId,
      client_secret: provider.clientSecret,
    })
  })

  test('client_secret_basic: in the header, form-encoded as RFC 6749 has it', async () => {
    const { provider, ...seen } = await signIn({ clientAuthentication: 'client_secret_basic' })
    // A form leaves a hyphen as it is, so that it is right for servers that do not decode, too.
    const encode = (text: string | null) => new URLSearchParams([['', String(text)]]).toString().slice(1)
    expect(provider.clientSecret).toContain('-')
    expect(seen).toMatchObject({
      status: 200,
      authorization: basic(`${encode(provider.clientId)}:${encode(provider.clientSecret)}`),
      client_secret: undefined,
    })
  })

  test('client_secret_basic_raw: in the header, exactly as it is', async () => {
    const { provider, ...seen } = await signIn({ clientAuthentication: 'client_secret_basic_raw' })
    expect(seen).toMatchObject({
      status: 200,
      authorization: basic(`${provider.clientId}:${provider.clientSecret}`),
      client_secret: undefined,
    })
  })

  test('none: the id alone, though there is a secret', async () => {
    const { provider, ...seen } = await signIn({ clientAuthentication: 'none' })
    // This provider wants the secret, and its refusal is our configuration, not the person's fault.
    expect(seen).toEqual({
      status: 500,
      authorization: undefined,
      client_id: provider.clientId,
      client_secret: undefined,
    })
  })

  test('tls_client_auth: the id alone', async () => {
    expect(await signIn({ clientAuthentication: 'tls_client_auth' })).toMatchObject({
      authorization: undefined,
      client_id: 'test-client',
      client_secret: undefined,
    })
  })

  test('a function of openid-client', async () => {
    const clientAuthentication = (_as: unknown, _client: unknown, _body: unknown, headers: Headers) =>
      headers.set('authorization', 'Custom x')
    expect(await signIn({ clientAuthentication })).toMatchObject({ authorization: 'Custom x' })
  })
})
