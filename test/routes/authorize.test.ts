import { createHash } from 'node:crypto'
import Fastify from 'fastify'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions } from '../../src/index.js'
import { google, type ProviderOptions } from '../../src/provider/presets/index.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser, type HeaderOverrides, type Page } from '../helpers/browser.js'
import { sessionVariants } from '../helpers/session-plugins.js'
import { answer, back, begin, flowCookies, ourCookies } from './flow.js'

/** The answer of the authorize route itself. */
function ask({ url, browser }: TestApp, query = '', headers: HeaderOverrides = {}): Promise<Page> {
  return browser.step(`${url}/oauth2authorize${query}`, { headers })
}

/** What a redirect asks the provider for. */
function askedOf(page: Page, { provider }: TestApp): Record<string, string> {
  expect(page.status).toBe(302)
  const url = new URL(page.location as string)
  expect(url.origin + url.pathname).toBe(`${provider.issuer}/authorize`)
  return Object.fromEntries(url.searchParams)
}

/** Whether something was refused without a trace. */
function expectRefused(page: Page, status: number, code?: string): void {
  expect(answer(page)).toEqual([status, code])
  expect(ourCookies(page)).toEqual([])
  expect(page.location).toBeNull()
}

const withRare: TestAppOptions['routes'] = (app) => {
  app.get('/link', async ({ oauth2 }) => {
    await oauth2.load()
    return {
      link: await oauth2.authorizeUrl('/?from=link', { scopes: 'rare.read', prompt: 'login', loginHint: 'bob' }),
    }
  })
}

describe('what the query may say', () => {
  test('K3: scopes that neither an option nor a guard declares are refused, whole', async () => {
    const app = await startApp({ client: { optionalScopes: 'drive.read mail.read' } })
    for (const query of [
      '?scope=files.read',
      '?scope=openid+files.read',
      '?scope=drive.read&scope=rare',
      '?scope=Email',
    ]) {
      expectRefused(await ask(app, query), 400, 'FST_OAUTH2_SCOPE_NOT_DECLARED')
    }
    expect(askedOf(await ask(app, '?scope=drive.read&scope=+openid++mail.read+'), app).scope).toBe(
      'openid email drive.read mail.read',
    )
    expect(askedOf(await ask(app), app).scope).toBe('openid email')
    expect(askedOf(await ask(app, '?scope='), app).scope).toBe('openid email')
  })

  test('K3: a guard declares its scopes once it was seen', async () => {
    const app = await startApp()
    expectRefused(await ask(app, '?scope=files.read'), 400, 'FST_OAUTH2_SCOPE_NOT_DECLARED')
    expect((await app.browser.xhr(`${app.url}/files`)).status).toBe(401)
    expect(askedOf(await ask(app, '?scope=files.read'), app).scope).toBe('openid email files.read')
    expectRefused(await ask(app, '?scope=calendar.read'), 400, 'FST_OAUTH2_SCOPE_NOT_DECLARED')
  })

  test('K3: a ticket carries what a bare link may not ask for', async () => {
    const app = await startApp({ routes: withRare })
    const { link } = (await app.browser.xhr(`${app.url}/link`)).json()
    const asked = askedOf(await app.browser.step(app.url + link), app)
    expect(asked).toMatchObject({ scope: 'openid email rare.read', prompt: 'login', login_hint: 'bob' })
    expect((await app.browser.goto(app.url + link)).url).toBe(`${app.url}/?from=link`)
  })

  test('K3: a ticket that was altered, cut, made up, repeated, is too old or of another client is refused', async () => {
    const app = await startApp({
      routes(server, provider) {
        withRare(server, provider)
        server.register(oauth2Client, {
          name: 'other',
          provider: { issuer: provider.issuer },
          clientId: provider.clientId,
          clientSecret: provider.clientSecret as string,
        })
      },
    })
    const { link } = (await app.browser.xhr(`${app.url}/link`)).json()
    const ticket = new URL(link, app.url).searchParams.get('ticket') as string
    const [header, iv, text, tag] = ticket.split('.') as [string, string, string, string]
    const flipped = text.slice(0, 5) + (text[5] === 'A' ? 'B' : 'A') + text.slice(6)
    const bad = [
      '',
      'x',
      '{"scopes":["rare.read"]}',
      ticket.slice(0, -3),
      [header, iv, flipped, tag].join('.'),
      `${ticket}.x`,
    ]
    for (const value of bad) {
      expectRefused(await ask(app, `?${new URLSearchParams({ ticket: value })}`), 400, 'FST_OAUTH2_TICKET_INVALID')
    }
    const twice = `?${new URLSearchParams([
      ['ticket', ticket],
      ['ticket', ticket],
    ])}`
    expectRefused(await ask(app, twice), 400, 'FST_OAUTH2_TICKET_INVALID')
    const other = await app.browser.step(`${app.url}/oauth2authorize/other?${new URLSearchParams({ ticket })}`)
    expectRefused(other, 400, 'FST_OAUTH2_TICKET_INVALID')

    app.clock.advance(3_599_000)
    expect((await app.browser.step(app.url + link)).status).toBe(302)
    app.clock.advance(1_000)
    expectRefused(await app.browser.step(app.url + link), 400, 'FST_OAUTH2_TICKET_INVALID')
  })

  test('K3: every other parameter is ignored, also for the rest of the flow', async () => {
    const app = await startApp()
    const { callback: _, asked: plain } = await begin(app)
    const attack = new URLSearchParams({
      client_id: 'evil',
      client_secret: 'evil',
      redirect_uri: 'https://evil.example/',
      state: 'evil',
      nonce: 'evil',
      prompt: 'none',
      auth_uri: 'https://evil.example/auth',
      token_uri: 'https://evil.example/token',
      authorization_endpoint: 'https://evil.example/auth',
      issuer: 'https://evil.example',
      code_challenge: 'evil',
      code_challenge_method: 'plain',
      code_verifier: 'evil',
      login_hint: 'evil',
      response_type: 'token',
      response_mode: 'form_post',
      request_uri: 'https://evil.example/request',
      scopes: 'everything',
      access_type: 'offline',
      include_granted_scopes: 'true',
      ['__proto__']: 'evil',
      'scope[]': 'everything',
      return_to: 'https://evil.example/',
      user: 'evil',
      account: 'new',
    })
    const { callback, asked } = await begin(app, `/oauth2authorize?${attack}`)
    const perFlow = new Set(['state', 'nonce', 'code_challenge'])
    const rest = (params: URLSearchParams) => [...params].filter(([name]) => !perFlow.has(name))
    expect(rest(asked)).toEqual(rest(plain))
    expect([...asked.keys()].sort()).toEqual([...plain.keys()].sort())
    expect(asked.toString()).not.toContain('evil')
    const page = await back(app, callback)
    expect([page.status, page.location]).toEqual([303, `${app.url}/`])
    expect(app.provider.requests.filter(({ endpoint }) => endpoint === 'token')).toHaveLength(1)
  })

  test('D3: the referrer is no return URL', async () => {
    const app = await startApp()
    const page = await app.browser.goto(`${app.url}/oauth2authorize`, {
      headers: { referer: `${app.url}/?from=referrer` },
    })
    expect(page.url).toBe(`${app.url}/`)
  })
})

describe('what the provider is asked', () => {
  test('C2, C4: PKCE with S256, nonce and state are fresh, long and never repeated', async () => {
    const app = await startApp()
    const seen = new Set<string>()
    for (let flow = 0; flow < 50; flow++) {
      const asked = askedOf(await ask({ ...app, browser: new Browser() }), app)
      expect(asked.code_challenge_method).toBe('S256')
      for (const value of [asked.state, asked.nonce, asked.code_challenge] as string[]) {
        expect(value).toMatch(/^[\w-]{43,}$/)
        seen.add(value)
      }
    }
    expect(seen.size).toBe(150)
  })

  test('C2: the verifier that is sent fits the challenge, has 256 bits, and the redirect URI is the same', async () => {
    const app = await startApp()
    const { callback, asked } = await begin(app)
    await back(app, callback)
    const { params } = app.provider.requests.find(({ endpoint }) => endpoint === 'token') as {
      params: Record<string, string>
    }
    expect(params.code_verifier).toMatch(/^[\w\-.~]{43,128}$/)
    expect(
      createHash('sha256')
        .update(params.code_verifier as string)
        .digest('base64url'),
    ).toBe(asked.get('code_challenge'))
    expect(params.redirect_uri).toBe(asked.get('redirect_uri'))
    expect(asked.get('redirect_uri')).toBe(`${app.url}/oauth2callback`)
    expect(asked.get('client_id')).toBe(app.provider.clientId)
    expect(asked.get('response_type')).toBe('code')
  })

  test('C3: a provider that offers only plain PKCE is refused instead of served', async () => {
    const app = await startApp()
    app.provider.metadata = (metadata) => ({ ...metadata, code_challenge_methods_supported: ['plain'] })
    expectRefused(await ask(app), 500, 'FST_OAUTH2_PROVIDER_METADATA')
  })

  test('C2: PKCE is used also where the metadata does not mention it', async () => {
    const app = await startApp()
    app.provider.metadata = ({ code_challenge_methods_supported: _, ...metadata }) => metadata
    expect(askedOf(await ask(app), app).code_challenge_method).toBe('S256')
  })

  test('C5, C6: a nonce goes with openid and with nothing else', async () => {
    const plain = await startApp({ client: { scopes: ['files.read'] } })
    const asked = askedOf(await ask(plain), plain)
    expect([asked.scope, 'nonce' in asked]).toEqual(['files.read', false])
  })

  test('K1: the union of granted and needed is asked for, in Google words only with google()', async () => {
    const generic = await startApp()
    await generic.browser.goto(`${generic.url}/files`)
    const more = await generic.browser.step(`${generic.url}/calendar`)
    const asked = askedOf(more, generic)
    expect(asked.scope).toBe('openid email files.read calendar.read')
    expect(asked).not.toHaveProperty('include_granted_scopes')
    expect(asked).not.toHaveProperty('access_type')
    expect(asked.login_hint).toBe('alice@example.com')

    const goog = await startApp({ client: ({ issuer }) => ({ provider: google({ issuer }) }) })
    expect(askedOf(await ask(goog), goog)).toMatchObject({ include_granted_scopes: 'true', access_type: 'offline' })
    expect(askedOf(await ask(goog), goog)).not.toHaveProperty('prompt')
  })

  test('K1: without includeGrantedScopes only what is needed is asked for', async () => {
    const app = await startApp({
      client: ({ issuer }) => ({ provider: google({ issuer }), includeGrantedScopes: false }),
    })
    await app.browser.goto(`${app.url}/files`)
    const asked = askedOf(await app.browser.step(`${app.url}/calendar`), app)
    expect(asked.scope).toBe('openid email calendar.read')
    expect(asked).not.toHaveProperty('include_granted_scopes')
  })

  test('lasting access is asked for with offline_access and consent where the metadata lists it', async () => {
    const app = await startApp()
    app.provider.metadata = (metadata) => ({ ...metadata, scopes_supported: ['openid', 'offline_access'] })
    expect(askedOf(await ask(app), app)).toMatchObject({ scope: 'openid email offline_access', prompt: 'consent' })
    // Asked for, never required.
    app.provider.grant = (scopes) => scopes.filter((scope) => scope !== 'offline_access')
    expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
  })

  test.each<
    [string, unknown, Partial<ProviderOptions>, Partial<OAuth2ClientOptions>, Record<string, string | undefined>]
  >([
    ['metadata that names no scopes', undefined, {}, {}, { scope: 'openid email' }],
    ['metadata that does not list it', ['openid'], {}, {}, { scope: 'openid email' }],
    [
      'an app that asks for it itself',
      ['openid'],
      {},
      { scopes: ['openid', 'offline_access'] },
      { scope: 'openid offline_access', prompt: 'consent' },
    ],
    [
      'a preset that knows a parameter',
      ['offline_access'],
      { offline: { params: { access_type: 'offline' } } },
      {},
      { scope: 'openid email', access_type: 'offline' },
    ],
    [
      'a preset that knows a scope',
      ['offline_access'],
      { offline: { scope: 'keep' } },
      {},
      { scope: 'openid email keep' },
    ],
    ['a preset where it comes by itself', ['offline_access'], { offline: {} }, {}, { scope: 'openid email' }],
  ])('lasting access: %s', async (_name, supported, preset, client, expected) => {
    const app = await startApp({ client: ({ issuer }) => ({ provider: { issuer, ...preset }, ...client }) })
    app.provider.metadata = ({ scopes_supported: _, ...metadata }) => ({
      ...metadata,
      ...(supported === undefined ? {} : { scopes_supported: supported }),
    })
    const { scope, prompt, access_type } = askedOf(await ask(app), app)
    expect({ scope, prompt, access_type }).toEqual({ prompt: undefined, access_type: undefined, ...expected })
  })

  test.each<[string, Partial<ProviderOptions>, OAuth2ClientOptions['scopes'], string | undefined]>([
    ['OpenID Connect by discovery', {}, undefined, 'openid email'],
    [
      'endpoints that were written, with keys',
      { token_endpoint: '/token', jwks_uri: '/jwks' },
      undefined,
      'openid email',
    ],
    ['endpoints that were written, without keys', { token_endpoint: '/token' }, undefined, undefined],
    ['a preset', { defaultScopes: ['openid', 'profile'], identityScopes: ['who'] }, undefined, 'openid profile'],
    ['a preset without ID tokens', { defaultScopes: ['read'], identityScopes: ['who'] }, undefined, 'read who'],
    ['an app with OpenID Connect', { identityScopes: ['who'] }, 'openid mail', 'openid mail'],
    ['an app without', { identityScopes: ['who'] }, ['mail'], 'mail who'],
    ['an app that wants nothing', { defaultScopes: ['read'], identityScopes: ['who'] }, [], 'who'],
  ])('what is asked for where nothing needs more: %s', async (_name, preset, scopes, expected) => {
    const app = await startApp({
      client: ({ issuer }) => ({
        provider: {
          issuer,
          ...preset,
          ...(preset.token_endpoint && {
            authorization_endpoint: `${issuer}/authorize`,
            token_endpoint: `${issuer}/token`,
            ...(preset.jwks_uri && { jwks_uri: `${issuer}/jwks` }),
          }),
        },
        ...(scopes === undefined ? {} : { scopes }),
      }),
    })
    expect(askedOf(await ask(app), app).scope).toBe(expected)
  })

  test.each([
    ['generic', undefined],
    ['google', google],
  ])('offline: false asks for no lasting access (%s)', async (_name, preset) => {
    const app = await startApp({
      client: ({ issuer }) => ({ offline: false, provider: preset ? preset({ issuer }) : { issuer } }),
    })
    app.provider.metadata = (metadata) => ({ ...metadata, scopes_supported: ['offline_access'] })
    const asked = askedOf(await ask(app), app)
    expect(asked.scope).toBe('openid email')
    expect(asked).not.toHaveProperty('prompt')
    expect(asked).not.toHaveProperty('access_type')
  })

  test('authorizationParams are always sent, and a parameter of the endpoint is not repeated', async () => {
    const app = await startApp({ client: { authorizationParams: { hd: 'example.com', prompt: 'select_account' } } })
    app.provider.metadata = (metadata) => ({
      ...metadata,
      authorization_endpoint: `${metadata.authorization_endpoint}?tenant=x&prompt=none`,
    })
    const page = await ask(app)
    const { searchParams } = new URL(page.location as string)
    expect(searchParams.getAll('prompt')).toEqual(['select_account'])
    expect([searchParams.get('hd'), searchParams.get('tenant')]).toEqual(['example.com', 'x'])
  })

  test.each([
    'client_id',
    'redirect_uri',
    'state',
    'nonce',
    'scope',
    'response_type',
    'response_mode',
    'code_challenge',
    'code_challenge_method',
    'code_verifier',
    'client_secret',
    'request',
    'request_uri',
  ])('authorizationParams may not set %s', async (name) => {
    await expect(register({ authorizationParams: { [name]: 'x' } })).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringMatching(new RegExp(`authorizationParams.*"${name}"`)),
    })
  })

  test('B6: a provider whose metadata names another issuer is not used', async () => {
    const app = await startApp()
    app.provider.metadata = (metadata) => ({ ...metadata, issuer: 'https://evil.example' })
    expectRefused(await ask(app), 500, 'FST_OAUTH2_PROVIDER_METADATA')
  })

  test('L1: a provider that cannot be reached is a 503, and is asked again the next time', async () => {
    const app = await startApp()
    app.provider.discoveryAnswer = () => ({ status: 503, body: 'down' })
    const page = await ask(app)
    expectRefused(page, 503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE')
    app.provider.discoveryAnswer = undefined
    expect((await ask(app)).status).toBe(302)
  })
})

describe('who may start a flow', () => {
  test.each(['HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE'])('A13: %s starts nothing', async (method) => {
    const app = await startApp()
    const page = await app.browser.step(`${app.url}/oauth2authorize`, { method })
    expect([404, 405]).toContain(page.status)
    expect(ourCookies(page)).toEqual([])
    expect(page.location).toBeNull()
  })

  test.each<[string, HeaderOverrides]>([
    ['an image', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
    ['a frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }],
    ['an old frame', { 'sec-fetch-mode': null, 'sec-fetch-dest': 'frame' }],
    ['a script', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['an object', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'object' }],
    ['a prefetch', { 'sec-purpose': 'prefetch' }],
    ['a prerendering', { 'sec-purpose': 'prefetch;prerender' }],
    ['a prefetch of an older browser', { purpose: 'prefetch', 'sec-fetch-mode': null, 'sec-fetch-dest': null }],
    ['a prefetch of an older Firefox', { 'x-moz': 'prefetch', 'sec-fetch-mode': null, 'sec-fetch-dest': null }],
  ])('A12: %s of another site starts nothing', async (_name, headers) => {
    const app = await startApp()
    const page = await ask(app, '', { 'sec-fetch-site': 'cross-site', ...headers })
    expectRefused(page, 403, 'FST_OAUTH2_NAVIGATION_REQUIRED')
  })

  test('A12: a link elsewhere, and a browser without Fetch Metadata, start a flow', async () => {
    const app = await startApp()
    expect((await ask(app, '', { 'sec-fetch-site': 'cross-site' })).status).toBe(302)
    const old = { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null, accept: '*/*' }
    expect((await ask(app, '', old)).status).toBe(302)
  })

  test('the redirect is not cached and says nothing about where it came from', async () => {
    const { headers } = await ask(await startApp())
    expect([headers.get('cache-control'), headers.get('referrer-policy')]).toEqual(['no-store', 'no-referrer'])
  })
})

describe('our own address', () => {
  const spoofed: [string, HeaderOverrides][] = [
    ['Host', { host: 'evil.example' }],
    ['X-Forwarded-Host', { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' }],
    ['X-Forwarded-Proto', { 'x-forwarded-proto': 'javascript' }],
    ['Forwarded', { forwarded: 'host=evil.example;proto=https' }],
    ['X-Forwarded-Prefix', { 'x-forwarded-prefix': '/evil', 'x-original-url': 'https://evil.example/' }],
  ]

  test.each(spoofed)('E1, E2: %s changes nothing where baseUrl is set', async (_name, headers) => {
    const app = await startApp({ server: { trustProxy: true }, client: { baseUrl: 'http://localhost:3999' } })
    const page = await ask(app, '?return_url=/here', headers)
    expect(askedOf(page, app).redirect_uri).toBe('http://localhost:3999/oauth2callback')
    const callback = new URL((await app.browser.step(page.location as string)).location as string)
    const finished = await back(app, app.url + callback.pathname + callback.search, { headers })
    expect([finished.status, finished.headers.get('location')]).toEqual([303, '/here'])
    expect(ourCookies(finished).join()).not.toContain('Domain')
  })

  test.each(spoofed.slice(1))('E1, E2: %s changes nothing where the address is derived', async (_name, headers) => {
    const app = await startApp({ server: { trustProxy: true } })
    expect(askedOf(await ask(app, '', headers), app).redirect_uri).toBe(`${app.url}/oauth2callback`)
  })

  test.each([
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    'evil.example#localhost',
    'evil.example/localhost',
    '10.0.0.1',
    '0.0.0.0',
  ])('E1: without baseUrl, Host "%s" is a coded error and not an address', async (host) => {
    const app = await startApp()
    const page = await ask(app, '', { host })
    expect(ourCookies(page)).toEqual([])
    expect(page.location).toBeNull()
    // Node itself may refuse what is no host at all.
    if (page.status !== 400) expect(answer(page)).toEqual([500, 'FST_OAUTH2_OPTION_INVALID'])
    if (page.status !== 400) expect(page.body).toContain('baseUrl')
  })

  test.each(['127.0.0.1', '[::1]', 'localhost', 'app.localhost'])(
    'without baseUrl, %s is derived',
    async (hostname) => {
      const app = await startApp()
      const host = `${hostname}:4321`
      expect(askedOf(await ask(app, '', { host }), app).redirect_uri).toBe(`http://${host}/oauth2callback`)
    },
  )

  test('E4: production wants baseUrl or redirectUri, and https, when it starts', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    onTestFinished(() => void vi.unstubAllEnvs())
    const refusal = (option: string) => ({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining(`"${option}"`),
    })
    await expect(register({})).rejects.toMatchObject(refusal('baseUrl'))
    await expect(register({ baseUrl: 'http://app.example.com' })).rejects.toMatchObject(refusal('baseUrl'))
    await expect(register({ redirectUri: 'http://app.example.com/oauth2callback' })).rejects.toMatchObject(
      refusal('redirectUri'),
    )
    await register({ baseUrl: 'https://app.example.com' })
    await register({ redirectUri: 'https://app.example.com/oauth2callback' })
  })

  test('E3: behind a proxy that strips a prefix, everything people see has the prefix', async () => {
    const app = await startApp({
      server: { trustProxy: true },
      client: { baseUrl: 'https://app.example.com/shop/' },
    })
    const browser = new Browser({
      via(url) {
        if (url.origin !== 'https://app.example.com') return undefined
        expect(url.pathname).toMatch(/^\/shop\//)
        return {
          url: app.url + url.href.slice('https://app.example.com/shop'.length),
          headers: { 'x-forwarded-proto': 'https' },
        }
      },
    })
    const page = await browser.goto('https://app.example.com/shop/profile?x=1')
    expect([page.status, page.url]).toEqual([200, 'https://app.example.com/shop/profile?x=1'])
    const { params } = app.provider.requests.find(({ endpoint }) => endpoint === 'token') as {
      params: Record<string, string>
    }
    expect(params.redirect_uri).toBe('https://app.example.com/shop/oauth2callback')
    expect(flowCookies(browser, 'app.example.com')).toEqual([])
    expect(browser.rejectedCookies).toEqual([])
    const { authorizeUrl } = (await browser.xhr('https://app.example.com/shop/files')).json()
    expect(authorizeUrl).toMatch(/^\/shop\/oauth2authorize\?ticket=/)
    expect((await browser.goto(`https://app.example.com${authorizeUrl}&return_url=/shop/files`)).status).toBe(200)
    const nowhere = await browser.goto('https://app.example.com/shop/oauth2authorize?return_url=//evil.example')
    expect(nowhere.url).toBe('https://app.example.com/shop/')
  })

  test('E3: within a prefixed context the routes and the redirect URI have its prefix once', async () => {
    const app = await startApp({
      routes(server, provider) {
        server.register(
          async (child) => {
            await child.register(oauth2Client, {
              name: 'inner',
              provider: { issuer: provider.issuer },
              clientId: provider.clientId,
              clientSecret: provider.clientSecret as string,
            })
            child.get('/page', { config: { oauth2: { client: 'inner' } } }, async () => 'in')
          },
          { prefix: '/v1' },
        )
      },
    })
    const page = await app.browser.goto(`${app.url}/v1/page`)
    expect([page.status, page.body, page.url]).toEqual([200, 'in', `${app.url}/v1/page`])
    expect(page.chain.map(({ url }) => new URL(url).pathname)).toEqual([
      '/v1/page',
      '/authorize',
      '/v1/oauth2callback/inner',
      '/v1/page',
    ])
  })
})

async function register(options: Partial<OAuth2ClientOptions>): Promise<void> {
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]!.register(app)
  app.register(oauth2Client, {
    provider: { issuer: 'https://login.example.com' },
    clientId: 'id',
    clientSecret: 'secret',
    ...options,
  })
  await app.ready()
}
