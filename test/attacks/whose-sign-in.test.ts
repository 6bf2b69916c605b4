/** J7: whose sign-in a guard that wants a recent or a strong one looks at: this browser's, as its ID token told it, and no other. */
import type { FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { describeEachSession } from '../helpers/session-plugins.js'

const DAY = 86_400
const JSON_CLIENT = { headers: { accept: 'application/json' } }

/** `/recent` wants a sign-in of the last five minutes, `/strong` one by `mfa`. A plain sign-in was a day ago, by password. */
async function start(options: TestAppOptions = {}) {
  const app = await startApp({
    storage: memoryStore(),
    ...options,
    routes: (server) => {
      server.get('/another', { onRequest: requireOAuth() }, async ({ oauth2 }) =>
        oauth2.authorizeUrl('/profile', { account: 'new' }),
      )
      server.get('/recent', { onRequest: requireOAuth([], { maxAge: 300 }) }, async ({ oauth2 }) => oauth2.claims)
      server.get(
        '/strong',
        { onRequest: requireOAuth([], { acrValues: ['mfa'] }) },
        async ({ oauth2 }) => oauth2.claims,
      )
    },
  })
  app.provider.idTokenClaims = (claims, { acr_values, max_age }) => ({
    ...claims,
    acr: acr_values ?? 'pwd',
    auth_time: Number(claims.iat) - (max_age === undefined ? DAY : 0),
  })
  const statuses = async (browser: Browser) => {
    // Longer than a guard makes do with what it read before.
    app.clock.advance(2_100)
    const pages = [browser.xhr(`${app.url}/recent`, JSON_CLIENT), browser.xhr(`${app.url}/strong`, JSON_CLIENT)]
    return (await Promise.all(pages)).map(({ status }) => status)
  }
  return { ...app, statuses, authorized: () => app.provider.count('authorize') }
}

/** An app with users of its own: everybody here is the same one, in whichever browser. */
const userKey = { userKey: (_request: FastifyRequest) => 'user-1' }

describeEachSession((variant) => {
  describe.each([
    ['people of the provider', {}],
    ['users of the app', userKey],
  ])('%s', (_name, client) => {
    test('J7 another browser that signs in again, or more strongly, proves nothing about this one', async () => {
      const { url, statuses } = await start({ variant, client })
      const [a, b] = [new Browser(), new Browser()]
      for (const browser of [a, b]) expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      expect(await statuses(b)).toEqual([401, 401])
      expect((await a.goto(`${url}/recent`)).status).toBe(200)
      expect(await statuses(a)).toEqual([200, 401])
      expect((await a.goto(`${url}/strong`)).status).toBe(200)
      expect(await statuses(b)).toEqual([401, 401])
      // And what it proves itself counts, with one more flow each.
      expect((await b.goto(`${url}/strong`)).status).toBe(200)
      expect(await statuses(b)).toEqual([401, 200])
    })

    test('J7 a weaker sign-in elsewhere takes nothing away from this browser', async () => {
      const { url, statuses } = await start({ variant, client })
      const [a, b] = [new Browser(), new Browser()]
      await a.goto(`${url}/strong`)
      expect(await statuses(a)).toEqual([401, 200])
      await b.goto(`${url}/oauth2authorize?return_url=/profile`)
      expect(await statuses(a)).toEqual([401, 200])
    })

    test('J7 signing out takes the proof along', async () => {
      const { app, url, clock, statuses } = await start({ variant, client })
      const [a, b] = [new Browser(), new Browser()]
      await a.goto(`${url}/strong`)
      await app.oauth2.signOutEverywhere(Object.keys(client).length > 0 ? 'user-1' : 'sub-alice')
      // By then nobody minds that the same is asked for again.
      clock.advance(61_000)
      expect(await statuses(a)).toEqual([401, 401])
      // Somebody has to be signed in for a guard to come as far as the proof.
      await b.goto(`${url}/strong`)
      expect(await statuses(a)).toEqual([401, 401])
    })
  })

  test('J7 a browser of the app that never was at the provider has proven nothing there', async () => {
    const { url, statuses } = await start({ variant, client: userKey })
    const [a, b] = [new Browser(), new Browser()]
    await a.goto(`${url}/recent`)
    await a.goto(`${url}/strong`)
    expect((await b.xhr(`${url}/profile`)).status).toBe(200)
    expect(await statuses(b)).toEqual([401, 401])
    expect((await b.goto(`${url}/recent`)).status).toBe(200)
  })

  test('J7 of two connected accounts each has its own proof', async () => {
    const { url, provider, statuses } = await start({ variant, client: userKey })
    const browser = new Browser()
    await browser.goto(`${url}/strong`)
    provider.user = 'bob'
    await browser.goto(`${url}${(await browser.xhr(`${url}/another`)).body}`)
    expect((await browser.xhr(`${url}/profile`)).json().user).toBe('sub-alice')
    expect(await statuses(browser)).toEqual([401, 200])
  })

  test.each(variant.hasStore ? ['memory'] : ['session', 'memory'])(
    'J7 a refresh is no sign-in, though its ID token says that the person just signed in, storage: %s',
    async (kind) => {
      const storage = kind === 'session' ? 'session' : memoryStore()
      const { browser, url, provider, clock, authorized } = await start({ variant, storage })
      const now = Math.floor(clock.now() / 1000)
      const stamped = (iat: number) => {
        provider.idTokenClaims = (claims) => ({ ...claims, iat, auth_time: iat })
      }
      stamped(now - 7_200)
      provider.expiresIn = 10
      await browser.goto(`${url}/profile`)
      expect((await browser.xhr(`${url}/recent`)).status).toBe(401)
      stamped(now)
      clock.advance(11_000)
      expect((await browser.xhr(`${url}/profile`)).json().claims).toMatchObject({ iat: now, auth_time: now - 7_200 })
      expect((await browser.xhr(`${url}/recent`)).status).toBe(401)
      expect([provider.count('token', 'refresh_token'), authorized()]).toEqual([1, 1])
    },
  )

  test('J7 what userinfo says of a sign-in is not what the ID token says', async () => {
    const { browser, url, provider, authorized } = await start({ variant })
    provider.idTokenClaims = ({ email: _, ...claims }) => claims
    provider.userinfoAnswer = async (_params, defaults) => {
      const { body } = await defaults()
      const auth_time = Math.floor(Date.now() / 1000)
      return { body: { ...body, acr: 'mfa', auth_time, amr: ['otp'], sid: 'session-1', nonce: 'n', locale: 'de' } }
    }
    const { claims } = (await browser.goto(`${url}/profile`)).json()
    expect(claims).toMatchObject({ email: 'alice@example.com', locale: 'de' })
    expect(claims.nonce).not.toBe('n')
    for (const name of ['acr', 'auth_time', 'amr', 'sid']) expect(claims).not.toHaveProperty(name)
    for (const page of ['recent', 'strong']) expect((await browser.xhr(`${url}/${page}`)).status).toBe(401)
    expect(authorized()).toBe(1)
  })
})
