// What apps on oauth2client's appengine decorators relied on, case by case (GA-1 to GA-10). Left out: GA-11, application
// identity of a platform that is gone. Inverted, because the original was unsafe: GA-4 (a failure is a failure, 403 and not
// 200), GA-5 (state before anything else). GA-7: `oauthAware` never redirects, so only `requireOAuth` sends to the login.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import type { Page } from '../helpers/browser.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

const cookieSession = sessionVariants[2] as SessionVariant
const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
const atCallback = (url: URL) => url.pathname === '/oauth2callback'

const routes = (app: FastifyInstance, provider: ScriptedProvider) => {
  app.get('/broken', { onRequest: requireOAuth() }, async () => {
    throw new Error('of the handler')
  })
  app.get('/use', { onRequest: requireOAuth() }, async ({ oauth2 }) =>
    (await oauth2.fetch(`${provider.issuer}/api/x`)).json(),
  )
  app.get('/aware', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
    has: oauth2.hasCredentials(),
    link: await oauth2.authorizeUrl('/aware'),
  }))
  app.post('/revoke', { onRequest: oauthAware() }, ({ oauth2 }) => oauth2.revoke())
}

/** An app with users of its own: the header says who is signed in. */
const withUsers = {
  userKey: ({ headers }: { headers: Record<string, unknown> }) => headers['x-user'] as string | undefined,
}
const as = (user: string) => ({ headers: { 'x-user': user } })

describe('GA-1 required', () => {
  test('GA-1 asks once, comes back to the page, and the next request passes', async () => {
    const { browser, url, provider } = await startApp({ routes })
    const asked = await browser.step(`${url}/profile?x=1`)
    expect(Object.fromEntries(new URL(asked.location as string).searchParams)).toMatchObject({
      redirect_uri: `${url}/oauth2callback`,
      client_id: provider.clientId,
      scope: 'openid email',
    })
    expect((await browser.goto(`${url}/profile?x=1`)).url).toBe(`${url}/profile?x=1`)
    expect((await browser.step(`${url}/profile`)).status).toBe(200)
    expect(provider.count('token')).toBe(1)
  })

  test('GA-1 an error of the handler is the app’s, and leaves nothing behind for whoever comes next', async () => {
    const { browser, url } = await startApp({ routes })
    await browser.goto(`${url}/profile`)
    expect((await browser.goto(`${url}/broken`)).json()).toMatchObject({ statusCode: 500, message: 'of the handler' })
    const stranger = await browser.clone()
    for (const { name } of stranger.cookies()) stranger.deleteCookie('localhost', name)
    expect((await stranger.xhr(`${url}/aware`)).json().has).toBe(false)
    expect((await browser.step(`${url}/profile`)).status).toBe(200)
  })

  test.each(['session', 'store'] as const)(
    'GA-1 credentials that die inside the handler: the person is asked again (%s)',
    async (kind) => {
      const { browser, url, provider } = await startApp({
        routes,
        storage: kind === 'store' ? memoryStore() : 'session',
      })
      await browser.goto(`${url}/profile`)
      provider.withdraw()
      const page = await browser.step(`${url}/use`)
      expect([page.status, page.location]).toEqual([302, expect.stringContaining(`${provider.issuer}/authorize`)])
      expect((await browser.goto(`${url}/use`)).json()).toMatchObject({ ok: true })
    },
  )

  test('GA-1 the same for a script is a 401 that says where to go', async () => {
    const { browser, url, provider } = await startApp({ routes })
    await browser.goto(`${url}/profile`)
    provider.withdraw()
    const page = await browser.xhr(`${url}/use`)
    expect(page.json()).toMatchObject({
      statusCode: 401,
      code: 'FST_OAUTH2_CREDENTIALS_REQUIRED',
      authorizeUrl: expect.stringContaining('/oauth2authorize'),
    })
    // The second time it is known without asking anybody.
    const { length } = provider.requests
    expect((await browser.step(`${url}/profile`)).status).toBe(302)
    expect(provider.requests).toHaveLength(length)
  })
})

test.each(['session', 'store'] as const)('GA-2 deleted credentials: the person is asked again (%s)', async (kind) => {
  const { browser, url, provider } = await startApp({ routes, storage: kind === 'store' ? memoryStore() : 'session' })
  await browser.goto(`${url}/profile`)
  expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({ local: true, remote: 'revoked' })
  expect((await browser.step(`${url}/profile`)).status).toBe(302)
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(provider.count('authorize')).toBe(2)
})

test('GA-3 aware never redirects: it tells what is there and how to ask', async () => {
  const { browser, url, provider } = await startApp({ routes })
  const before = await browser.goto(`${url}/aware`)
  expect([before.status, before.chain.length, before.json().has]).toEqual([200, 1, false])
  expect((await browser.goto(url + before.json().link)).json()).toMatchObject({ has: true })
  provider.withdraw()
  expect((await browser.step(`${url}/aware`)).status).toBe(200)
})

test('GA-4 inverted: markup in an error of the provider is not escaped, it is not there', async () => {
  const { browser, url, provider } = await startApp()
  provider.authorizeAnswer = ({ state }, defaults) => ({
    iss: defaults().iss as string,
    state: state as string,
    error: 'access_denied',
    error_description: '<b>canary</b>',
  })
  const page = await browser.goto(`${url}/profile`)
  expect(codeOf(page)).toEqual([403, 'FST_OAUTH2_ACCESS_DENIED'])
  expect(page.body).not.toContain('canary')
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
})

test.each([
  ['altered', (state: string) => `${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`],
  ['of another browser', (_: string, foreign: string) => foreign],
  ['without a colon, or anything', () => 'x'],
])('GA-5 inverted: a bad state (%s) is refused before anything is exchanged or stored', async (_name, change) => {
  const storage = memoryStore()
  const { browser, url, provider } = await startApp({ storage })
  const other = browser.clone()
  const foreign = new URL((await other.step(`${url}/profile`)).location as string).searchParams.get('state') as string
  const pending = await browser.goto(`${url}/profile`, { stopAt: atCallback })
  const callback = new URL(pending.location as string)
  callback.searchParams.set('state', change(callback.searchParams.get('state') as string, foreign))
  expect(codeOf(await browser.step(callback))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
  expect(provider.count('token')).toBe(0)
  expect(await storage.get('user/oauth2/sub-alice')).toBeUndefined()
  expect((await browser.step(`${url}/profile`)).status).toBe(302)
})

test('GA-6 extra parameters reach the provider, headers of the request do not', async () => {
  const { browser, url } = await startApp({
    client: { authorizationParams: { hd: 'example.com', access_type: 'offline' } },
  })
  const { searchParams } = new URL(
    (await browser.step(`${url}/profile`, { headers: { 'user-agent': 'canary' } })).location as string,
  )
  expect([searchParams.get('hd'), searchParams.get('access_type')]).toEqual(['example.com', 'offline'])
  expect(searchParams.toString()).not.toContain('canary')
})

describe('GA-7 nobody is signed in to the app', () => {
  test('GA-7 required sends people to the login and back, and tells scripts', async () => {
    const { browser, url, provider } = await startApp({
      routes,
      storage: memoryStore(),
      client: { ...withUsers, loginPath: '/login?from=oauth' },
    })
    const page = await browser.step(`${url}/profile?x=1`)
    expect([page.status, page.location]).toEqual([302, `${url}/login?from=oauth&return_url=%2Fprofile%3Fx%3D1`])
    expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual([401, 'FST_OAUTH2_USER_REQUIRED'])
    expect((await browser.step(`${url}/oauth2authorize`)).location).toContain('/login')
    expect((await browser.step(`${url}/aware`)).json()).toMatchObject({ has: false })
    expect(provider.requests).toEqual([])
  })

  test('GA-7 without a login to send them to, it is a 401', async () => {
    const { browser, url } = await startApp({ storage: memoryStore(), client: withUsers })
    expect(codeOf(await browser.goto(`${url}/profile`))).toEqual([401, 'FST_OAUTH2_USER_REQUIRED'])
  })
})

describe('GA-8 client secrets', () => {
  async function withFile(change: (section: Record<string, unknown>) => Record<string, unknown>, type = 'web') {
    const provider = await startScriptedProvider()
    onTestFinished(() => provider.close())
    const directory = mkdtempSync(join(tmpdir(), 'appengine-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const clientSecretsFile = join(directory, 'client_secrets.json')
    const section = {
      client_id: provider.clientId,
      client_secret: provider.clientSecret,
      redirect_uris: [],
      auth_uri: `${provider.issuer}/authorize`,
      token_uri: `${provider.issuer}/token`,
      issuer: provider.issuer,
    }
    writeFileSync(clientSecretsFile, JSON.stringify({ [type]: change(section) }))
    const client = {
      clientSecretsFile,
      provider: undefined,
      clientId: undefined,
      clientSecret: undefined,
      scopes: 'files.read',
    }
    return startApp({ provider, routes, client: client as never })
  }

  test.each([
    ['with revoke_uri', true, 'revoked'],
    ['without', false, 'unsupported'],
  ])('GA-8 a file %s', async (_name, has, remote) => {
    const app = await withFile((section) => (has ? { ...section, revoke_uri: `${section.issuer}/revoke` } : section))
    const { browser, url, provider } = app
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ scopes: ['files.read'] })
    expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).json()).toEqual({ local: true, remote })
    expect(provider.count('revoke')).toBe(has ? 1 : 0)
  })

  test.each([
    ['of a bad type', 'other', (section: Record<string, unknown>) => section],
    [
      'that was not filled in',
      'web',
      (section: Record<string, unknown>) => ({ ...section, client_secret: '[[FILL ME]]' }),
    ],
    ['that lacks the token endpoint', 'web', ({ token_uri: _, ...section }: Record<string, unknown>) => section],
  ])('GA-8 a file %s is explained, and the process lives', async (_name, type, change) => {
    await expect(withFile(change, type)).rejects.toMatchObject({ code: 'FST_OAUTH2_CLIENT_SECRETS_INVALID' })
  })
})

describe('GA-9 a flow belongs to the user who began it', () => {
  const start = async () => {
    const storage = memoryStore()
    return { ...(await startApp({ storage, client: withUsers, variant: cookieSession })), storage }
  }

  test('GA-9 the same user: it goes back to the page', async () => {
    const { browser, url } = await start()
    const page = await browser.goto(`${url}/profile?x=1`, as('ann'))
    expect([page.status, page.url]).toEqual([200, `${url}/profile?x=1`])
  })

  test.each(['bob', ''])('GA-9 %j in the same browser: refused, nothing is exchanged or stored', async (user) => {
    const { browser, url, provider, storage } = await start()
    const pending = await browser.goto(`${url}/profile`, { ...as('ann'), stopAt: atCallback })
    const page = await browser.step(pending.location as string, as(user))
    expect(codeOf(page)).toEqual([403, 'FST_OAUTH2_ACCOUNT_MISMATCH'])
    expect(provider.count('token')).toBe(0)
    for (const key of ['ann', 'bob']) expect(await storage.get(`user/oauth2/${key}`)).toBeUndefined()
  })
})

test('GA-10 keys survive a restart and the loss of every cache, and end when they are replaced', async () => {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const deploy = (encryptionKeys: string) => startApp({ provider, variant: cookieSession, client: { encryptionKeys } })
  const [key, other] = ['the key of this deployment, long enough', 'the key of another deployment, long enough']
  const first = await deploy(key)
  const at = (origin: string, page: Page) => origin + (page.location as string).slice(first.url.length)
  const { browser } = first
  const pending = await browser.goto(`${first.url}/profile`, { stopAt: atCallback })
  await first.app.close()
  const wrong = await deploy(other)
  expect(codeOf(await browser.step(at(wrong.url, pending)))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
  const again = await deploy(key)
  expect((await browser.step(at(again.url, pending))).status).toBe(303)
  expect(provider.count('token')).toBe(1)
})
