/** Section E with bytes that no browser sends; headers that browsers and proxies do send are in `routes/authorize`. */
import Fastify from 'fastify'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions, oauthAware, requireOAuth } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { type RawAnswer, rawRequest } from '../helpers/raw.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

const BASE = 'https://app.example.com'

/** Request line and headers; `host` is the one of the server. */
const disguises: [string, (host: string) => string[]][] = [
  ['two Hosts, ours first', (host) => ['GET {path} HTTP/1.1', `Host: ${host}`, 'Host: evil.example']],
  ['two Hosts, ours last', (host) => ['GET {path} HTTP/1.1', 'Host: evil.example', `Host: ${host}`]],
  ['two Hosts in one', (host) => ['GET {path} HTTP/1.1', `Host: ${host}, evil.example`]],
  ['a target with a host of its own', (host) => ['GET http://evil.example{path} HTTP/1.1', `Host: ${host}`]],
  ['a target with our host, and another Host', (host) => [`GET http://${host}{path} HTTP/1.1`, 'Host: evil.example']],
  ['a target of another scheme', (host) => ['GET https://evil.example{path} HTTP/1.1', `Host: ${host}`]],
  ['HTTP/1.0 without a Host', () => ['GET {path} HTTP/1.0']],
  ['HTTP/1.0 with another Host', () => ['GET {path} HTTP/1.0', 'Host: evil.example']],
  ['an empty Host', () => ['GET {path} HTTP/1.1', 'Host:']],
  ['a Host with a path', (host) => ['GET {path} HTTP/1.1', `Host: ${host}/evil.example`]],
  ['a Host that looks like ours', (host) => ['GET {path} HTTP/1.1', `Host: ${host}.evil.example`]],
  ['a Host with a user', (host) => ['GET {path} HTTP/1.1', `Host: ${host}@evil.example`]],
  [
    'every header of every proxy',
    (host) => [
      'GET {path} HTTP/1.1',
      `Host: ${host}`,
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Host: evil2.example',
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Port: 1',
      'X-Forwarded-Prefix: //evil.example',
      'X-Forwarded-Server: evil.example',
      'X-Host: evil.example',
      'X-Original-Host: evil.example',
      'X-Original-URL: https://evil.example/',
      'X-Rewrite-URL: https://evil.example/',
      'Forwarded: for=1;host=evil.example;proto=https',
    ],
  ],
]

function ask({ url }: TestApp, lines: (host: string) => string[], path: string): Promise<RawAnswer> {
  const [line = '', ...headers] = lines(new URL(url).host)
  return rawRequest(url, [line.replace('{path}', path), ...headers, 'Accept: text/html'])
}

/** Where a redirect to the provider says that people come back to. */
function redirectUriOf({ headers }: RawAnswer, { provider }: TestApp): string | null {
  const url = new URL(headers.get('location')?.[0] as string)
  expect(url.origin).toBe(provider.issuer)
  return url.searchParams.get('redirect_uri')
}

/**
 * What is no request at all, Node refuses; and @fastify/session takes a target with a host for a path that its cookie does
 * not cover, so that there is no session to begin a flow in: a mistake of the request, and not ours.
 */
function refusedBeforeUs({ status, headers, body }: RawAnswer): boolean {
  expect(headers.has('location') && status >= 400).toBe(false)
  const noSession = body.includes('FST_OAUTH2_SESSION_REQUIRED')
  if (noSession) expect(status).toBe(400)
  return noSession || (status === 400 && !headers.has('cache-control'))
}

describeEachSession((variant) => {
  test.each(disguises)('E1, E2: %s moves neither redirect URI, nor links, nor cookies', async (_name, lines) => {
    const app = await startApp({ variant, server: { trustProxy: true }, client: { baseUrl: BASE } })
    for (const path of ['/oauth2authorize?return_url=/there', '/profile?x=1']) {
      const answer = await ask(app, lines, path)
      if (refusedBeforeUs(answer)) continue
      expect(answer.status).toBe(302)
      expect(redirectUriOf(answer, app)).toBe(`${BASE}/oauth2callback`)
      const cookies = (answer.headers.get('set-cookie') ?? []).filter((cookie) => cookie.includes('oauth2client.'))
      expect(cookies).toHaveLength(1)
      expect(cookies[0]).toMatch(
        /^__Host-oauth2client\.flow\.[^;]+; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      )
      expect(answer.body).not.toContain('evil')
    }
    const refused = await ask(app, lines, '/oauth2callback?state=x&code=y')
    if (!refusedBeforeUs(refused)) expect(refused.status).toBe(400)
    expect(refused.body).not.toContain('evil')
  })
})

describeEachSession((variant) => {
  test("E1: a target in another spelling is nobody's 500", async () => {
    const app = await startApp({
      variant: { ...variant, register: (server) => variant.register(server, { cookie: { path: '/a' } }) },
      client: { backchannelLogout: true, authorizePath: '/a/in', callbackPath: '/a/back', logoutPath: '/a/out' },
      server: { routerOptions: { caseSensitive: false, ignoreDuplicateSlashes: true } },
      routes: (server) => {
        server.get('/a/guarded/:id', { onRequest: requireOAuth() }, async () => 'guarded')
        server.get('/a/aware', { onRequest: oauthAware() }, async () => 'aware')
      },
    })
    const { host } = new URL(app.url)
    const paths = ['/a/guarded/7', '/a/aware', '/a/in', '/a/back?state=x&code=y', '/a/out?state=x']
    for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
      for (const path of [...paths, '/a/out', '/a/out/backchannel', '/a/back/confirm', '/a/back/resume']) {
        for (const target of [`http://x${path}`, path.replace('/a', '/%61'), path.replace('/a', '/A'), `/${path}`]) {
          const type = 'Content-Type: application/x-www-form-urlencoded'
          const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, type, 'Content-Length: 3']
          const { status, body } = await rawRequest(app.url, lines, 'a=b')
          expect(status, `${method} ${target} ${body}`).toBeLessThan(500)
        }
      }
    }
    const answer = await rawRequest(app.url, ['GET http://x/a/guarded/7 HTTP/1.1', `Host: ${host}`])
    if (variant.kind === 'session') {
      expect([answer.status, JSON.parse(answer.body)]).toMatchObject([400, { code: 'FST_OAUTH2_SESSION_REQUIRED' }])
      expect(answer.body).toContain('the target of this request')
    }
  })
})

test('E1: a session cookie that does not cover the route is our mistake, whatever the path holds', async () => {
  const variant = sessionVariants[0] as SessionVariant
  const app = await startApp({
    variant: { ...variant, register: (server) => variant.register(server, { cookie: { path: '/a' } }) },
    routes: (server) => server.get('/b/:id', { onRequest: requireOAuth() }, async () => 'guarded'),
  })
  const { host } = new URL(app.url)
  for (const path of ['/b/7', '/b/%37', '/profile']) {
    const { status, body } = await rawRequest(app.url, [`GET ${path} HTTP/1.1`, `Host: ${host}`])
    expect([status, body]).toEqual([500, expect.stringContaining("Set its path to '/'")])
  }
})

test.each(disguises)('E1: %s is no address where ours has to be derived', async (_name, lines) => {
  const app = await startApp({ server: { trustProxy: true } })
  const answer = await ask(app, lines, '/oauth2authorize')
  expect(answer.body).not.toContain('evil.example')
  if (answer.status === 302) return expect(redirectUriOf(answer, app)).toBe(`${app.url}/oauth2callback`)
  expect([400, 500]).toContain(answer.status)
  expect(answer.headers.has('location')).toBe(false)
  if (!refusedBeforeUs(answer)) expect(answer.body).toContain('baseUrl')
})

test('E1: a deep link in a target with a host of its own leads back to us', async () => {
  const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant
  const app = await startApp({ variant })
  const answer = await rawRequest(app.url, [
    'GET http://evil.example/profile?x=1 HTTP/1.1',
    `Host: ${new URL(app.url).host}`,
    'Accept: text/html',
  ])
  const { browser, provider } = app
  for (const cookie of answer.headers.get('set-cookie') ?? []) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie) as unknown as [string, string, string]
    browser.setCookie('localhost', { name, value })
  }
  const { location } = await browser.step(answer.headers.get('location')?.[0] as string)
  const page = await browser.step(location as string, { from: provider.issuer })
  expect([page.status, page.headers.get('location')]).toEqual([303, '/'])
})

describe('E4: production', () => {
  async function start(options: Partial<OAuth2ClientOptions>): Promise<void> {
    vi.stubEnv('NODE_ENV', 'production')
    onTestFinished(() => void vi.unstubAllEnvs())
    const app = Fastify()
    onTestFinished(() => app.close())
    sessionVariants[0]?.register(app)
    app.register(oauth2Client, {
      provider: { issuer: 'https://login.example.com' },
      clientId: 'id',
      clientSecret: 'secret',
      ...options,
    })
    await app.ready()
  }

  test.each(['http://localhost:3000', 'http://127.0.0.1:3000', 'http://[::1]:3000', 'https://app.example.com'])(
    'E4: %s starts',
    (baseUrl) => start({ baseUrl }),
  )

  test.each([
    'http://app.example.com',
    'http://localhost.evil.example',
    'http://10.0.0.1',
    'http://0.0.0.0:3000',
    'ftp://localhost',
    '//app.example.com',
    'app.example.com',
    'javascript:alert(1)',
    'https://user@app.example.com',
    'https://app.example.com/?a',
    'https://app.example.com/#a',
  ])('E4: %s does not', async (baseUrl) => {
    await expect(start({ baseUrl })).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining('"baseUrl"'),
    })
  })

  test.each(['http://login.example.com', 'ftp://login.example.com'])(
    'E4: the provider is not asked at %s',
    async (issuer) => {
      await expect(start({ baseUrl: BASE, provider: { issuer } })).rejects.toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
      })
    },
  )
})
