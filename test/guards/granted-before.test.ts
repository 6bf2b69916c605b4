/** What guards make of what people granted, declined and refused before, here or in another browser. */
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'

test('a refusal is one however long ago the person signed in', async () => {
  const { browser, url, provider, clock } = await startApp()
  await browser.goto(`${url}/profile`)
  clock.advance(600_000)
  provider.authorizeAnswer = ({ state = '' }) => ({ error: 'access_denied', state, iss: provider.issuer })
  for (let visit = 0; visit < 2; visit++) {
    const page = await browser.goto(`${url}/files`)
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
  }
  expect(provider.count('authorize')).toBe(2)
})

describe('a scope that was declined', () => {
  const both = (app: FastifyInstance) => {
    app.get('/both', { onRequest: requireOAuth('files.read calendar.read') }, async () => ({}))
  }
  const start = async () => {
    const app = await startApp({ routes: both })
    app.provider.grant = (scopes) => scopes.filter((scope) => scope !== 'calendar.read')
    expect((await app.browser.goto(`${app.url}/calendar`)).status).toBe(403)
    expect(app.provider.count('authorize')).toBe(1)
    return app
  }

  test('is not asked for again together with one that was not', async () => {
    const { browser, url, provider } = await start()
    const page = await browser.goto(`${url}/both`)
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
    expect(page.body).toContain('<ul><li>files.read</li><li>calendar.read</li></ul>')
    expect(provider.count('authorize')).toBe(1)
  })

  test('is asked for again where the person has to sign in anyway', async () => {
    const { browser, url, provider, clock } = await start()
    provider.withdraw()
    clock.advance(3_600_001)
    provider.grant = (scopes) => scopes
    const page = await browser.goto(`${url}/calendar`)
    expect([page.status, page.chain[0]?.status, provider.count('authorize')]).toEqual([200, 302, 2])
  })
})

test('a guard for another account than the one of this browser turns nobody into somebody else', async () => {
  const { browser, url, provider } = await startApp({
    storage: memoryStore(),
    routes: (app) => {
      app.get('/bob', { onRequest: requireOAuth([], { account: 'sub-bob' }) }, async () => ({}))
    },
  })
  await browser.goto(`${url}/profile`)
  provider.user = 'bob'
  const page = await browser.goto(`${url}/bob`)
  expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
})

test('where credentials died, somebody else may sign in', async () => {
  const { browser, url, provider, clock } = await startApp()
  await browser.goto(`${url}/profile`)
  provider.withdraw()
  clock.advance(3_600_001)
  provider.user = 'bob'
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-bob' })
})

test('lasting access that is granted without its scope is no missing scope', async () => {
  const { browser, url, provider } = await startApp({ client: { scopes: ['openid', 'offline_access'] } })
  provider.grant = (scopes) => scopes.filter((scope) => scope !== 'offline_access')
  for (const path of ['/profile', '/files']) expect((await browser.goto(url + path)).status).toBe(200)
  expect(provider.count('authorize')).toBe(2)
})

test('a refusal of less than the page needs is none of what it needs', async () => {
  const { browser, url, provider, clock } = await startApp({ client: { includeGrantedScopes: false } })
  provider.expiresIn = 20
  await browser.goto(`${url}/files`)
  provider.authorizeAnswer = ({ state = '' }) => ({ error: 'access_denied', state, iss: provider.issuer })
  expect((await browser.goto(`${url}/oauth2authorize`)).status).toBe(403)
  provider.authorizeAnswer = undefined
  provider.withdraw()
  clock.advance(21_000)
  const page = await browser.goto(`${url}/files`)
  expect([page.status, page.url, provider.count('authorize')]).toEqual([200, `${url}/files`, 3])
})

describe('what a sign-in left as it was, because it grants more', () => {
  const start = async () => {
    const app = await startApp({
      storage: memoryStore(),
      routes: (server) => {
        server.get('/alice', { onRequest: requireOAuth([], { account: 'sub-alice' }) }, async () => ({}))
        server.get('/as-alice', { onRequest: oauthAware() }, async ({ oauth2 }, reply) =>
          reply.redirect(await oauth2.authorizeUrl('/profile', { account: 'sub-alice' })),
        )
      },
    })
    expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
    return app
  }

  test.each(['/profile', '/alice', '/as-alice'])(
    'is still there for everybody: somebody only asked who it is (%s)',
    async (path) => {
      const { browser, url, provider } = await start()
      provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
      const other = new Browser()
      expect((await other.goto(url + path)).status).toBe(200)
      for (const one of [browser, other]) expect((await one.goto(`${url}/files`)).chain).toHaveLength(1)
      expect(provider.count('authorize')).toBe(2)
    },
  )

  test('while a grant that brought what the page needs counts, though something else was declined with it', async () => {
    const { browser, url, provider } = await start()
    provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
    const page = await browser.goto(`${url}/calendar`)
    expect([page.status, page.json()]).toEqual([200, { scopes: ['openid', 'email', 'calendar.read'] }])
    expect(provider.count('authorize')).toBe(2)
  })

  test('and lacks what the page needs is asked for both: that is no loop either', async () => {
    const { browser, url, provider, clock } = await start()
    clock.advance(60_000)
    const page = await new Browser().goto(`${url}/calendar`)
    expect([page.status, page.url]).toEqual([200, `${url}/calendar`])
    expect(page.json()).toEqual({ scopes: ['openid', 'email', 'files.read', 'calendar.read'] })
    expect(provider.count('authorize')).toBe(3)
    expect((await browser.goto(`${url}/files`)).chain).toHaveLength(1)
  })

  test('and lacks what the person declines ends in a page that says so', async () => {
    const { url, provider, clock } = await start()
    clock.advance(60_000)
    provider.grant = (scopes) => scopes.filter((scope) => scope !== 'calendar.read')
    const other = new Browser()
    for (let visit = 0; visit < 2; visit++) {
      const page = await other.goto(`${url}/calendar`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
    }
    expect(provider.count('authorize')).toBe(2)
  })

  test('and what is found dead only then is no loop: the next sign-in takes its place', async () => {
    const { url, provider, clock } = await start()
    provider.withdraw()
    clock.advance(3_600_001)
    const page = await new Browser().goto(`${url}/profile`)
    expect([page.status, page.url, provider.count('authorize')]).toEqual([200, `${url}/profile`, 3])
  })
})
