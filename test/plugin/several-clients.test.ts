import { describe, expect, test } from 'vitest'
import oauth2Client, { type OAuth2Client, oauthAware, type RequestOAuth2, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { optionsFor, scriptedProvider, serve } from './serve.js'

// What an app with a client of another name writes once; this file compiles because it is enough.
declare module 'fastify' {
  interface FastifyInstance {
    github: OAuth2Client
  }
  interface FastifyRequest {
    github: RequestOAuth2
  }
}

const ok = async () => ({ ok: true })
const viaGithub = { client: 'github' } as const

describeEachSession((variant) => {
  test.each(['session', 'memory'] as const)('two providers keep to themselves, storage: %s', async (kind) => {
    const [main, github] = [await scriptedProvider(), await scriptedProvider()]
    github.user = 'octocat'
    const stores = [memoryStore(), memoryStore()] as const
    const storage = (index: 0 | 1) => (kind === 'session' ? 'session' : stores[index])
    const { app, browser, url } = await serve((app) => {
      app.register(oauth2Client, optionsFor(main, { storage: storage(0) }))
      app.register(
        oauth2Client,
        optionsFor(github, { name: 'github', storage: storage(1), scopes: ['openid', 'repo'] }),
      )
      app.get('/main', { onRequest: requireOAuth() }, async ({ oauth2 }) => [oauth2.userId, oauth2.scopes])
      app.get('/github', { onRequest: requireOAuth('gist', viaGithub) }, async ({ github }) => [
        github.userId,
        github.scopes,
      ])
      app.get('/both', { onRequest: [requireOAuth(), requireOAuth(undefined, viaGithub)] }, async (request) => [
        (await request.oauth2.fetch(`${main.issuer}/api/me`)).status,
        (await request.github.fetch(`${github.issuer}/api/me`)).status,
        await request.github.fetch(`${main.issuer}/api/me`).catch((error: { code: string }) => error.code),
      ])
      app.get('/aware', { onRequest: [oauthAware(), oauthAware(viaGithub)] }, async ({ oauth2, github }) => ({
        main: oauth2.userId,
        github: github.userId,
        csrf: github.xsrfToken,
      }))
    }, variant)
    expect([app.oauth2.callbackPath, app.github.callbackPath]).toEqual(['/oauth2callback', '/oauth2callback/github'])
    expect(app.github).toMatchObject({
      name: 'github',
      authorizePath: '/oauth2authorize/github',
      logoutPath: '/oauth2logout/github',
    })
    // On their way at the same time, as two tabs are.
    const tab = await browser.step(`${url}/main`)
    expect((await browser.goto(`${url}/github`)).json()).toEqual(['sub-octocat', ['openid', 'repo', 'gist']])
    expect((await browser.goto(tab.location as string)).json()).toEqual(['sub-alice', ['openid', 'email']])
    expect((await browser.goto(`${url}/github`)).chain).toHaveLength(1)
    expect((await browser.goto(`${url}/both`)).json()).toEqual([200, 200, 'FST_OAUTH2_ORIGIN_NOT_ALLOWED'])
    for (const [own, other] of [
      [main, github],
      [github, main],
    ] as const) {
      expect(own.count('token')).toBe(1)
      for (const secret of own.secrets()) expect(JSON.stringify(other.requests)).not.toContain(secret)
    }
    if (kind === 'memory') {
      for (const store of stores) {
        const keys: string[] = []
        for await (const key of store.list('user/')) keys.push(key)
        expect(keys).toHaveLength(1)
      }
    }
    const { csrf } = (await browser.xhr(`${url}/aware`)).json()
    const headers = { 'x-csrf-token': csrf }
    // A form of one client is no form of the other.
    expect((await browser.xhr(`${url}/oauth2logout`, { method: 'POST', headers })).status).toBe(403)
    expect((await browser.xhr(`${url}/oauth2logout/github`, { method: 'POST', headers })).status).toBe(204)
    expect((await browser.xhr(`${url}/aware`)).json()).toMatchObject({ main: 'sub-alice', github: null })
    expect((await browser.xhr(`${url}/main`)).status).toBe(200)
  })
})

test("a flow of one client is no answer to another's", async () => {
  const provider = await scriptedProvider()
  const { browser, url } = await serve((app) => {
    app.register(oauth2Client, optionsFor(provider))
    app.register(oauth2Client, optionsFor(provider, { name: 'github' }))
    app.get('/main', { onRequest: requireOAuth() }, ok)
  })
  const back = await browser.goto(`${url}/main`, { stopAt: (next) => next.pathname === '/oauth2callback' })
  const crossed = (back.location as string).replace('/oauth2callback', '/oauth2callback/github')
  const page = await browser.goto(crossed)
  expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
  expect(provider.count('token')).toBe(0)
  expect((await browser.goto(back.location as string)).json()).toEqual({ ok: true })
})

test('a child with a client of the same name uses its own, with every kind of guard', async () => {
  const [parent, child] = [await scriptedProvider(), await scriptedProvider()]
  child.user = 'carol'
  const seen: string[] = []
  const who = async ({ oauth2 }: { oauth2: RequestOAuth2 }) => ({ user: oauth2.userId })
  const { browser, url } = await serve((app) => {
    app.register(oauth2Client, optionsFor(parent, { storage: memoryStore() }))
    app.get('/parent', { onRequest: requireOAuth() }, who)
    app.register(
      async (instance) => {
        instance.get('/before', { config: { oauth2: true } }, who)
        instance.register(oauth2Client, optionsFor(child, { storage: memoryStore(), hook: 'preHandler' }))
        const preValidation = async () => void seen.push('preValidation')
        instance.get('/hooked', { config: { oauth2: true }, preValidation }, who)
        instance.get('/free', { onRequest: requireOAuth() }, who)
        instance.register(async (grandchild) => grandchild.get('/deep', { config: { oauth2: true } }, who))
      },
      { prefix: '/child' },
    )
  })
  expect((await browser.step(`${url}/parent`)).location).toContain(parent.issuer)
  for (const path of ['/child/before', '/child/free', '/child/deep']) {
    expect([path, (await browser.step(url + path)).location]).toEqual([path, expect.stringContaining(child.issuer)])
  }
  // The parent's hook, which would have been earlier, leaves it to the child's.
  expect((await browser.xhr(`${url}/child/hooked`)).status).toBe(401)
  expect(seen).toEqual(['preValidation'])
  expect((await browser.goto(`${url}/child/deep`)).json()).toEqual({ user: 'sub-carol' })
  expect(parent.count('token')).toBe(0)
})

describe('a name that is taken', () => {
  const names = ['oauth2', 'log', 'server', 'session', 'body', 'query', 'headers', 'raw', 'inject']
  test.each(names)('%s is an error at registration', async (name) => {
    const provider = await scriptedProvider()
    const starting = serve((app) => {
      app.register(oauth2Client, optionsFor(provider))
      app.register(oauth2Client, optionsFor(provider, { name }))
    })
    await expect(starting).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining(`"${name}" is taken`),
    })
  })
})

test('in a prefixed context, routes and redirect URI have the prefix, and the whole way works', async () => {
  const provider = await scriptedProvider()
  const { app, browser, url } = await serve((app) => {
    app.register(
      async (child) => {
        child.register(oauth2Client, optionsFor(provider))
        child.get('/page', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({ user: oauth2.userId }))
        child.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.xsrfToken)
      },
      { prefix: '/admin' },
    )
  })
  expect(app.hasDecorator('oauth2')).toBe(false)
  const page = await browser.goto(`${url}/admin/page?x=1`)
  expect([page.url, page.json()]).toEqual([`${url}/admin/page?x=1`, { user: 'sub-alice' }])
  const sent = provider.requests.find(({ endpoint }) => endpoint === 'authorize')
  expect(sent?.params.redirect_uri).toBe(`${url}/admin/oauth2callback`)
  for (const path of ['/oauth2authorize', '/oauth2callback', '/oauth2logout']) {
    expect([path, (await browser.goto(url + path)).status]).toEqual([path, 404])
  }
  const headers = { 'x-csrf-token': (await browser.xhr(`${url}/admin/token`)).body }
  expect((await browser.xhr(`${url}/admin/oauth2logout`, { method: 'POST', headers })).status).toBe(204)
  const again = await browser.goto(`${url}/admin/oauth2authorize?return_url=/admin/page`)
  expect(again.json()).toEqual({ user: 'sub-alice' })
})

test('a guard of a client that is not registered closes the route', async () => {
  let runs = 0
  const { browser, url } = await startApp({
    routes: (app) => {
      app.get('/nope', { onRequest: requireOAuth(undefined, { client: 'nope' }) }, async () => ({ runs: ++runs }))
      app.get('/aware', { onRequest: oauthAware({ client: 'toString' }) }, async () => ({ runs: ++runs }))
    },
  })
  for (const path of ['/nope', '/aware']) {
    const page = await browser.goto(url + path)
    expect([page.status, page.json().code]).toEqual([500, 'FST_OAUTH2_NOT_REGISTERED'])
  }
  expect(runs).toBe(0)
})

test('guards that cannot work are an error when they are made', () => {
  const wrong = [
    () => requireOAuth(['two words']),
    () => requireOAuth(7 as never),
    () => requireOAuth([], { clients: 'x' } as never),
    () => requireOAuth([], { client: '' }),
    () => requireOAuth([], { account: 5 } as never),
    () => oauthAware({ client: 5 } as never),
  ]
  for (const make of wrong) expect(make).toThrow(expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }))
})

test('without a guard, members say that nothing is loaded, and load() helps', async () => {
  const members: Record<string, (oauth2: RequestOAuth2) => unknown> = {
    credentials: (oauth2) => oauth2.credentials,
    hasCredentials: (oauth2) => oauth2.hasCredentials(),
    scopes: (oauth2) => oauth2.scopes,
    email: (oauth2) => oauth2.email,
    userId: (oauth2) => oauth2.userId,
    claims: (oauth2) => oauth2.claims,
    xsrfToken: (oauth2) => oauth2.xsrfToken,
    accounts: (oauth2) => oauth2.accounts(),
    account: (oauth2) => oauth2.account('sub-alice'),
  }
  const { browser, url } = await startApp({
    routes: (app) => {
      app.get('/unloaded/:member', async ({ oauth2, params }) => {
        members[(params as { member: string }).member]?.(oauth2)
        return {}
      })
      app.get('/loaded', async ({ oauth2 }) => {
        await oauth2.load()
        return Object.values(members).map((use) => use(oauth2)).length
      })
      app.get('/async', async ({ oauth2 }) => [
        await oauth2.authorizeUrl('/x'),
        await oauth2.getAccessToken().catch((error: { code: string }) => error.code),
      ])
    },
  })
  for (const member of Object.keys(members)) {
    const page = await browser.xhr(`${url}/unloaded/${member}`)
    expect([member, page.json().code]).toEqual([member, 'FST_OAUTH2_NOT_LOADED'])
    expect(page.json().message).toContain('request.oauth2')
  }
  expect((await browser.xhr(`${url}/loaded`)).status).toBe(200)
  expect((await browser.xhr(`${url}/async`)).json()).toEqual([
    '/oauth2authorize?return_url=%2Fx',
    'FST_OAUTH2_CREDENTIALS_REQUIRED',
  ])
})

test("a client's own requireOAuth and oauthAware are about that client", async () => {
  const provider = await scriptedProvider()
  const { browser, url } = await serve((app) => {
    app.register(oauth2Client, optionsFor(provider, { name: 'github' }))
    app.register(async (child) => {
      child.get('/page', { onRequest: child.github.requireOAuth('repo') }, async ({ github }) => github.scopes)
      child.get('/aware', { onRequest: child.github.oauthAware() }, async ({ github }) => github.hasCredentials())
    })
  })
  expect((await browser.xhr(`${url}/aware`)).body).toBe('false')
  // Declared when the guard was made, so that a link may name it.
  expect((await browser.goto(`${url}/oauth2authorize/github?scope=repo&return_url=/page`)).json()).toContain('repo')
})
