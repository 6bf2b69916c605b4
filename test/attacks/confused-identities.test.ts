/** Whose credentials are whose, when there are several clients, several accounts, or several people waiting at once. */
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, { type AuthorizeUrlOptions, type ConnectedAccount, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { listen } from '../helpers/listen.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, sessionVariants } from '../helpers/session-plugins.js'

async function provider() {
  const started = await startScriptedProvider()
  onTestFinished(() => started.close())
  return started
}

test('I5 clients of one name at two providers: the same identity at the other one is nobody here', async () => {
  const [honest, hostile] = [await provider(), await provider()]
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  for (const [prefix, at] of Object.entries({ '/honest': honest, '/hostile': hostile })) {
    app.register(
      async (context) => {
        context.register(oauth2Client, {
          provider: { issuer: at.issuer },
          clientId: at.clientId,
          clientSecret: at.clientSecret as string,
          storage: memoryStore(),
        })
        context.get('/me', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.userId)
      },
      { prefix },
    )
  }
  const url = await listen(app)
  await new Browser().goto(`${url}/honest/me`)
  const attacker = new Browser()
  hostile.idTokenClaims = (claims) => ({ ...claims, sub: 'sub-alice' })
  expect((await attacker.goto(`${url}/hostile/me`)).body).toBe('sub-alice')
  // Nobody is signed in at the honest one: it is asked who this is, and not the session.
  honest.user = 'mallory'
  expect((await attacker.xhr(`${url}/honest/me`)).status).toBe(401)
  expect((await attacker.goto(`${url}/honest/me`)).body).toBe('sub-mallory')
})

function accountRoutes(app: FastifyInstance): void {
  app.get('/link', async ({ oauth2, query }) => {
    await oauth2.load()
    return oauth2.authorizeUrl('/', query as AuthorizeUrlOptions)
  })
  app.get('/accounts', async ({ oauth2 }) => (await oauth2.load()).accounts())
  app.get('/revoke', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
    const outcome = await oauth2.account('sub-bob').revoke()
    await oauth2.getAccessToken()
    return outcome
  })
  app.get('/both', async ({ oauth2 }) => {
    await oauth2.load()
    const tokens = ['sub-alice', 'sub-bob'].map((id) => oauth2.account(id).getAccessToken())
    return (await Promise.allSettled(tokens)).map(({ status }) => status)
  })
}

async function withAccounts(options: TestAppOptions, more: readonly string[]) {
  const app = await startApp({ routes: accountRoutes, ...options, client: { userKey: () => 'u1', ...options.client } })
  const { browser, url } = app
  const link = async (query: string) => url + (await browser.xhr(`${url}/link?${query}`)).body
  const accounts = async () => ((await browser.xhr(`${url}/accounts`)).json() as ConnectedAccount[]).map(({ id }) => id)
  await browser.goto(`${url}/profile`)
  for (const user of more) {
    app.provider.user = user
    await browser.goto(await link('account=new'))
  }
  return { ...app, link, accounts }
}

describeEachSession((variant) => {
  test('an account that was revoked in a handler does not come back with what the guard had loaded', async () => {
    const { browser, url, accounts } = await withAccounts({ variant }, ['bob'])
    expect(await accounts()).toEqual(['sub-alice', 'sub-bob'])
    expect((await browser.xhr(`${url}/revoke`)).json()).toEqual({ local: true, remote: 'revoked' })
    expect(await accounts()).toEqual(['sub-alice'])
  })

  test('two accounts of one session, refreshed at once, both keep their new refresh tokens', async () => {
    const rotating = await provider()
    rotating.refreshTokenPolicy = 'rotate'
    const { browser, url, clock } = await withAccounts({ variant, provider: rotating }, ['bob'])
    for (let round = 0; round < 3; round++) {
      clock.advance(3_700_000)
      expect((await browser.xhr(`${url}/both`)).json()).toEqual(['fulfilled', 'fulfilled'])
    }
  })
})

describe('a flow for an account that is named', () => {
  test('that is not stored: nobody else can take the place of what is', async () => {
    const { browser, provider, link, accounts } = await withAccounts({ storage: memoryStore() }, [])
    provider.user = 'mallory'
    expect((await browser.goto(await link('account=sub-zed'))).status).toBe(403)
    expect(await accounts()).toEqual(['sub-alice'])
  })

  test('and is new: a second question for want of a refresh token still adds it', async () => {
    const once = await provider()
    once.refreshTokenPolicy = 'first'
    const options = { provider: once, storage: memoryStore(), client: { offline: 'required' as const } }
    const { browser, link, accounts } = await withAccounts(options, [])
    once.user = 'bob'
    let first = true
    once.tokenAnswer = async (_params, defaults) => {
      const answer = await defaults()
      if (first) delete (answer.body as Record<string, unknown>).refresh_token
      first = false
      return answer
    }
    await browser.goto(await link('account=new'))
    expect(await accounts()).toEqual(['sub-alice', 'sub-bob'])
  })
})

test('what is added to an error for one person is not seen by another who waited for the same thing', async () => {
  const { browser, url, provider } = await startApp({
    client: { onError: () => new Promise<void>((resolve) => setTimeout(resolve, 30)) },
  })
  provider.discoveryAnswer = async () => ({ status: 500, delay: 200, body: 'x' })
  const stranger = new Browser()
  const [own, other] = await Promise.all([
    browser.goto(`${url}/profile?private=query`),
    stranger.xhr(`${url}/oauth2authorize`, { headers: { 'sec-fetch-mode': null, 'sec-fetch-dest': null } }),
  ])
  expect([own.status, other.status]).toEqual([503, 503])
  expect(own.body).toContain('private%3Dquery')
  expect(other.body).not.toContain('private')
})

test('a handler cannot give itself scopes or claims', async () => {
  const { browser, url } = await startApp({
    storage: memoryStore(),
    routes(app) {
      app.get('/grab', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
        ;(oauth2.scopes as string[]).push('files.read')
      })
    },
  })
  await browser.goto(`${url}/profile`)
  expect((await browser.xhr(`${url}/grab`)).status).toBe(500)
  expect((await browser.xhr(`${url}/files`)).status).toBe(403)
})

test('I: without keys to verify ID tokens with, nobody is sent to sign in', async () => {
  const { browser, url, provider } = await startApp()
  provider.metadata = ({ jwks_uri: _, ...metadata }) => metadata
  const page = await browser.goto(`${url}/profile`)
  expect([page.status, page.body]).toEqual([500, expect.stringContaining('FST_OAUTH2_PROVIDER_METADATA')])
})

test('I: an authentication older than max_age is refused', async () => {
  const { browser, url, provider } = await startApp({ client: { authorizationParams: { max_age: '60' } } })
  provider.idTokenClaims = (claims) => ({ ...claims, auth_time: Number(claims.iat) - 86_400 })
  expect((await browser.goto(`${url}/profile`)).status).toBe(502)
  provider.idTokenClaims = (claims) => ({ ...claims, auth_time: claims.iat })
  expect((await browser.goto(`${url}/oauth2authorize?return_url=/profile`)).status).toBe(200)
})

test('a refresh does not make a cookie session larger than the sign-in did', async () => {
  const rotating = await provider()
  rotating.refreshTokenPolicy = 'rotate'
  rotating.idTokenClaims = (claims) => ({ ...claims, groups: 'g'.repeat(900) })
  const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as (typeof sessionVariants)[number]
  const { browser, url, clock } = await startApp({ provider: rotating, variant })
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  clock.advance(3_700_000)
  expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
})
