// The relying-party modules of the OpenID conformance suite for logout, and for a login that begins elsewhere, by their names.
import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { oauthAware } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { answer } from '../routes/flow.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/** Somebody is signed in, in two browsers of one session at the provider, which can be signed out at. */
async function signedIn() {
  const app = await startApp({
    storage: memoryStore(),
    client: { providerLogout: true, backchannelLogout: true, cacheMaxAge: 0 },
    routes: (server) => {
      server.get('/account', { onRequest: oauthAware() }, async ({ oauth2 }, reply) =>
        reply.type('text/html').send(`<form method="post" action="/oauth2logout">
          <input name="_csrf" value="${oauth2.xsrfToken}"><input name="return_url" value="/bye"><button>Go</button></form>`),
      )
    },
  })
  const { provider, browser, url, clock } = app
  provider.metadata = (usual) => ({ ...usual, end_session_endpoint: `${provider.issuer}/end` })
  provider.idTokenClaims = (usual) => ({ ...usual, sid: 'session-1' })
  const elsewhere = new Browser()
  for (const one of [browser, elsewhere]) expect((await one.goto(`${url}/profile`)).status).toBe(200)
  /** Signs out here, and gives the request that the browser makes at the provider then. */
  const signOut = async () => {
    const form = await browser.goto(`${url}/account`)
    const page = await browser.submit(form, 0, {}, { stopAt: ({ origin }) => origin === provider.issuer })
    const endSession = new URL(page.location ?? '')
    expect(endSession.origin + endSession.pathname).toBe(`${provider.issuer}/end`)
    return endSession.searchParams
  }
  /** Back from there. */
  const back = (asked: URLSearchParams, state: string | null) => {
    const to = new URL(asked.get('post_logout_redirect_uri') ?? '')
    if (state !== null) to.searchParams.set('state', state)
    return browser.step(to.href, { from: provider.issuer })
  }
  const claims = (): JWTPayload => {
    const now = Math.floor(clock.now() / 1000)
    const { issuer: iss, clientId: aud } = provider
    const about = { sub: 'sub-alice', sid: 'session-1', events: { [EVENT]: {} } }
    return { iss, aud, iat: now, exp: now + 120, jti: randomUUID(), ...about }
  }
  const send = (token: string) =>
    fetch(`${url}/oauth2logout/backchannel`, { method: 'POST', body: new URLSearchParams({ logout_token: token }) })
  const status = async (one: Browser) => (await one.xhr(`${url}/profile`)).status
  return { ...app, elsewhere, signOut, back, claims, send, status }
}
type SignedIn = Awaited<ReturnType<typeof signedIn>>

describe('signing out here and at the provider', () => {
  test('oidcc-client-test-rp-init-logout', async () => {
    const { browser, provider, url, signOut, back, status } = await signedIn()
    const asked = await signOut()
    expect(Object.fromEntries(asked)).toEqual({
      client_id: provider.clientId,
      id_token_hint: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      post_logout_redirect_uri: `${url}/oauth2logout`,
      state: expect.stringMatching(/^.{22,}$/),
    })
    const home = await back(asked, asked.get('state'))
    expect([home.status, home.headers.get('location')]).toEqual([303, '/bye'])
    expect(await status(browser)).toBe(401)
  })

  // Whoever comes back without the state of this browser's own sign-out is shown a page, and is sent nowhere. They are signed out either way.
  const cameBackWith = async (state: (own: string) => string | null) => {
    const { browser, signOut, back, status } = await signedIn()
    const asked = await signOut()
    const page = await back(asked, state(asked.get('state') ?? ''))
    expect([...answer(page), page.location]).toEqual([400, 'FST_OAUTH2_LOGOUT_STATE_INVALID', null])
    expect(await status(browser)).toBe(401)
  }
  test('oidcc-client-test-rp-init-logout-no-state', () => cameBackWith(() => null))
  test('oidcc-client-test-rp-init-logout-other-state', () => cameBackWith((own) => `${own}-other`))
})

describe('what the provider says by its back channel when somebody signs out', () => {
  test('oidcc-client-test-rp-backchannel-rpinitlogout', async () => {
    const { app, browser, elsewhere, provider, claims, send, signOut, back, status } = await signedIn()
    const asked = await signOut()
    expect(await status(elsewhere)).toBe(200)
    const told = await send(await provider.sign(claims(), { typ: 'logout+jwt' }))
    expect([told.status, told.headers.get('cache-control')]).toEqual([200, 'no-store'])
    expect((await back(asked, asked.get('state'))).headers.get('location')).toBe('/bye')
    expect([await status(browser), await status(elsewhere)]).toEqual([401, 401])
    // The grant is another matter.
    expect((await app.oauth2.user('sub-alice')).hasCredentials()).toBe(true)
  })

  /** What is not a logout token is answered with 400, and ends nothing. */
  const refused = async (reason: string, ...make: ((at: SignedIn) => Promise<string>)[]) => {
    const at = await signedIn()
    await at.signOut()
    for (const one of make) {
      const response = await at.send(await one(at))
      expect([response.status, response.headers.get('cache-control')]).toEqual([400, 'no-store'])
      expect(await response.json()).toMatchObject({ error: 'invalid_request', reason })
    }
    expect(await at.status(at.elsewhere)).toBe(200)
    expect((await at.send(await at.provider.sign(at.claims()))).status).toBe(200)
  }
  const saying = (change: JWTPayload, reason: string) =>
    refused(reason, ({ provider, claims }) => provider.sign({ ...claims(), ...change }, { typ: 'logout+jwt' }))

  test('oidcc-client-test-rp-backchannel-rpinitlogout-alg-none', () =>
    refused('algorithm', async ({ claims }) => new UnsecuredJWT(claims()).encode()))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg', () =>
    refused(
      'algorithm',
      ({ provider, claims }) =>
        new SignJWT(claims()).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(provider.clientSecret as string)),
      async ({ provider, claims }) => {
        // A key that is published, for an algorithm that is not among those that were agreed on.
        const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
        const key = { ...(await exportJWK(publicKey)), kid: 'ec', use: 'sig' }
        provider.jwksAnswer = async (_params, defaults) => {
          const { keys } = (await defaults()).body as { keys: object[] }
          return { body: { keys: [...keys, key] } }
        }
        return new SignJWT(claims()).setProtectedHeader({ alg: 'ES256', kid: 'ec' }).sign(privateKey)
      },
    ))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-no-event', () => saying({ events: undefined }, 'malformed'))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event', () =>
    saying({ events: { 'http://schemas.openid.net/event/another': {} } }, 'event'))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce', () => saying({ nonce: 'n' }, 'nonce'))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud', () => saying({ aud: 'another-client' }, 'audience'))
  test('oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss', () =>
    saying({ iss: 'https://evil.example' }, 'issuer'))
})

test('oidcc-client-test-3rd-party-init-login', async () => {
  const { browser, url, provider } = await startApp()
  // Registered as initiate_login_uri is the authorize route. There is one provider behind it, and of what strangers say nothing is used.
  const said = new URLSearchParams({
    iss: provider.issuer,
    login_hint: 'eve@evil.example',
    target_link_uri: 'https://evil.example/',
  })
  const home = await browser.goto(`${url}/oauth2authorize?${said}`, { from: 'https://portal.example/' })
  expect([home.url, home.json()]).toEqual([`${url}/`, { user: 'sub-alice', has: true }])
  const request = provider.requests.find(({ endpoint }) => endpoint === 'authorize')
  expect(request?.url).not.toContain('evil')
})
