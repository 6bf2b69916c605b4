import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { authorizationUrl, Provider, type ProviderConfig } from '../../src/flows/index.js'
import type { ProviderOptions } from '../../src/index.js'
import { startApp } from '../helpers/app.js'
import { type Answer, type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

async function provided(options: Partial<ProviderConfig> = {}) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const provider = new Provider({ provider: { issuer: server.issuer }, clientId: 'test-client', ...options })
  return { server, provider }
}

const METADATA = 'FST_OAUTH2_PROVIDER_METADATA'
const DOWN = 'FST_OAUTH2_PROVIDER_UNAVAILABLE'
const failing = (provider: Provider) =>
  provider.configuration().then(
    () => expect.fail('this should have failed'),
    (error: Error & { code: string }) => error,
  )

describe('when', () => {
  test('L1: nothing is asked at registration, though the provider is down', async () => {
    const { app, provider } = await startApp()
    await app.ready()
    expect(provider.requests).toEqual([])
  })

  test('many requests at once ask once, and later ones not again', async () => {
    const { server, provider } = await provided()
    const hold = server.hold('discovery')
    const all = Promise.all(Array.from({ length: 20 }, () => provider.configuration()))
    await hold.arrived()
    hold.release()
    const configurations = await all
    expect(new Set([...configurations, await provider.configuration()]).size).toBe(1)
    expect(server.count('discovery')).toBe(1)
  })

  test('L1: a failure is not remembered', async () => {
    const { server, provider } = await provided()
    server.discoveryAnswer = () => ({ status: 500, body: {} })
    expect(await failing(provider)).toMatchObject({ code: DOWN, statusCode: 503 })
    server.discoveryAnswer = undefined
    await provider.configuration()
    expect(server.count('discovery')).toBe(2)
  })

  test('never where the endpoints are written down', async () => {
    const { server, provider } = await provided({
      provider: {
        issuer: 'https://issuer.example',
        authorization_endpoint: 'https://issuer.example/authorize',
        token_endpoint: 'https://issuer.example/token',
      },
      fetch: () => expect.fail('no request'),
    })
    const { url, request } = await authorizationUrl(provider, { redirectUri: 'https://app.example/cb' })
    expect([new URL(url).origin, request.issuer]).toEqual(['https://issuer.example', 'https://issuer.example'])
    expect(server.requests).toEqual([])
  })
})

describe('where', () => {
  const paths = (server: ScriptedProvider) => server.requests.map(({ url }) => url)

  test('404 there: at the place of RFC 8414', async () => {
    const { server, provider } = await provided()
    server.paths.discovery = '/.well-known/oauth-authorization-server'
    await provider.configuration()
    expect(paths(server)).toEqual(['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'])
  })

  test('an issuer with a path has it behind, or in front as RFC 8414 wants', async () => {
    const { server, provider } = await provided()
    const issuer = `${server.issuer}/tenant/1`
    const tenant = new Provider({ provider: { issuer }, clientId: 'test-client' })
    server.paths.discovery = '/.well-known/oauth-authorization-server/tenant/1'
    server.metadata = (metadata) => ({ ...metadata, issuer })
    expect((await tenant.metadata()).issuer).toBe(issuer)
    expect(paths(server)).toEqual([
      '/tenant/1/.well-known/openid-configuration',
      '/.well-known/oauth-authorization-server/tenant/1',
    ])
    expect(provider.issuer).toBe(server.issuer)
  })

  test.each(['/.well-known/openid-configuration/tenant/1', '/tenant/1/.well-known/oauth-authorization-server'])(
    'or where the two are mixed up, behind pages that are shown for every address: %s',
    async (place) => {
      const { server } = await provided()
      const issuer = `${server.issuer}/tenant/1`
      server.paths.jwks = '/tenant/1/.well-known/openid-configuration'
      server.jwksAnswer = () => ({ headers: { 'content-type': 'text/html' }, body: '<!doctype html>' })
      server.paths.discovery = place
      server.metadata = (metadata) => ({ ...metadata, issuer })
      const tenant = new Provider({ provider: { issuer }, clientId: 'test-client' })
      expect((await tenant.metadata()).issuer).toBe(issuer)
      server.metadata = (metadata) => ({ ...metadata, issuer: server.issuer })
      expect(await failing(new Provider({ provider: { issuer }, clientId: 'x' }))).toMatchObject({ code: METADATA })
    },
  )

  test('neither: the provider is not available, and two requests were made', async () => {
    const { server, provider } = await provided()
    server.paths.discovery = '/nowhere'
    expect(await failing(provider)).toMatchObject({ code: DOWN })
    expect(server.requests).toHaveLength(2)
  })

  test('a redirect is not followed', async () => {
    const { server, provider } = await provided()
    server.discoveryAnswer = () => ({ status: 302, headers: { location: '/elsewhere' }, body: '' })
    expect(await failing(provider)).toMatchObject({ code: DOWN })
    expect(server.count('unknown')).toBe(0)
  })
})

describe('what', () => {
  test.each([
    ['another one', (issuer: string) => issuer.replace('http:', 'https:')],
    ['a slash at the end', (issuer: string) => `${issuer}/`],
    ['one with a path', (issuer: string) => `${issuer}/tenant`],
    ['a stranger', () => 'https://evil.example'],
  ])('B6: the issuer must be the configured one, and both are named: %s', async (_name, change) => {
    const { server, provider } = await provided()
    const found = change(server.issuer)
    server.metadata = (metadata) => ({ ...metadata, issuer: found })
    const error = await failing(provider)
    expect(error).toMatchObject({ code: METADATA, statusCode: 500 })
    expect(error.message).toContain(`"${server.issuer}"`)
    expect(error.message).toContain(`"${found}"`)
  })

  test.each(['authorization_endpoint', 'token_endpoint', 'jwks_uri', 'revocation_endpoint', 'userinfo_endpoint'])(
    'B7: plain HTTP to elsewhere is refused, and what is no URL: %s',
    async (endpoint) => {
      const { server, provider } = await provided()
      for (const value of [
        'http://issuer.example/x',
        'http://localhost.evil.example/x',
        'ftp://localhost/x',
        'x',
        '',
        5,
        {},
      ]) {
        server.metadata = (metadata) => ({ ...metadata, [endpoint]: value })
        const error = await failing(provider)
        expect(error).toMatchObject({ code: METADATA, message: expect.stringContaining(endpoint) })
      }
    },
  )

  test.each([
    [['plain'], METADATA],
    [['S256', 'plain'], undefined],
    [[], undefined],
    [undefined, undefined],
  ])('PKCE methods %j', async (methods, code) => {
    const { server, provider } = await provided()
    server.metadata = (metadata) => ({ ...metadata, code_challenge_methods_supported: methods })
    if (code) expect(await failing(provider)).toMatchObject({ code, message: expect.stringContaining('S256') })
    else await provider.configuration()
  })

  test('what is written in the options wins over what was found, whatever it is', async () => {
    const { server } = await provided()
    const written = {
      revocation_endpoint: 'https://issuer.example/revoke',
      id_token_signing_alg_values_supported: ['ES256'],
      authorization_response_iss_parameter_supported: false,
    }
    const options = { issuer: server.issuer, ...written, userinfo_endpoint: undefined, defaultScopes: ['a'] }
    const provider = new Provider({ provider: options as unknown as ProviderOptions, clientId: 'x' })
    const metadata = await provider.metadata()
    expect(metadata).toMatchObject({
      ...written,
      issuer: server.issuer,
      token_endpoint: `${server.issuer}/token`,
      userinfo_endpoint: `${server.issuer}/userinfo`,
    })
    expect(metadata).not.toHaveProperty('defaultScopes')
  })
})

describe('L1: a provider that misbehaves costs a coded error and little else', () => {
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, 'x'))
  const gzip = { 'content-encoding': 'gzip', 'content-type': 'application/json' }
  test.each<[string, Answer]>([
    ['never answers', { hang: true }],
    ['cuts the connection', { destroy: true }],
    ['HTML', { headers: { 'content-type': 'text/html' }, body: '<html>sign in to the hotel network</html>' }],
    ['HTML that says it is JSON', { headers: { 'content-type': 'application/json' }, body: '<html>' }],
    ['nothing', { headers: { 'content-type': 'application/json' }, body: '' }],
    ['null', { headers: { 'content-type': 'application/json' }, body: 'null' }],
    ['a list', { body: [] }],
    ['an object without an issuer', { body: { token_endpoint: 'x' } }],
    ['5 MB', { headers: { 'content-type': 'application/json' }, body: `{"x":"${'x'.repeat(5 * 1024 * 1024)}"}` }],
    ['200 MB in a small gzip', { headers: gzip, body: bomb }],
    ['broken gzip', { headers: gzip, body: Buffer.from('not gzip') }],
    ['401', { status: 401, headers: { 'www-authenticate': 'Basic' }, body: {} }],
  ])('%s', async (_name, answer) => {
    const { server, provider } = await provided({ timeout: 1000 })
    server.discoveryAnswer = () => answer
    const before = process.memoryUsage().rss
    const error = await failing(provider)
    expect(error.code).toMatch(/^FST_OAUTH2_PROVIDER_/)
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024)
    expect(server.count('discovery')).toBe(1)
  })

  test('an answer that comes in drops ends with the deadline', async () => {
    const { provider } = await provided({
      timeout: 100,
      fetch: async (_input, init) => {
        const body = new ReadableStream({
          start(controller) {
            const drop = setInterval(() => controller.enqueue(Buffer.from(' ')), 10)
            init?.signal?.addEventListener('abort', () => {
              clearInterval(drop)
              controller.error(init.signal?.reason)
            })
          },
        })
        return new Response(body, { headers: { 'content-type': 'application/json' } })
      },
    })
    expect(await failing(provider)).toMatchObject({ code: DOWN })
  })

  test('to people it is a 503 page, and the app lives', async () => {
    const { browser, url, provider } = await startApp()
    provider.discoveryAnswer = () => ({ body: 'canary of the provider' })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body.includes('canary')]).toEqual([503, false])
    provider.discoveryAnswer = undefined
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })
})
