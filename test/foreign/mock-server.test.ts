/** A mock server that others test with, spoiled at each place that it offers. Its signatures are real. */
import { OAuth2Server } from 'oauth2-mock-server'
import { expect, onTestFinished, test } from 'vitest'
import { introspectToken, Provider, revokeToken } from '../../src/flows/index.js'
import type { ProviderOptions } from '../../src/index.js'
import { answer } from '../routes/flow.js'
import { type ForeignApp, foreignApp, REGISTRATION, signIn } from './app.js'

const HOUR = 3_600_000
const REFUSED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
const DOWN = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']

async function mocked(options: Partial<ProviderOptions> = {}, alg = 'RS256') {
  const server = new OAuth2Server()
  await server.issuer.keys.generate(alg)
  await server.start(0, 'localhost')
  onTestFinished(() => server.stop())
  const provider: ProviderOptions = {
    issuer: server.issuer.url as string,
    // Its answers have a word in the place of what was granted.
    normalizeTokenResponse: ({ scope: _, ...body }) => body,
    id_token_signing_alg_values_supported: [alg],
    ...options,
  }
  return { server, provider, app: await foreignApp({ provider }) }
}

const me = ({ browser, url }: ForeignApp) => browser.xhr(`${url}/me`)

test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('%s: sign-in, guard, refresh, revocation', async (alg) => {
  const { app } = await mocked({}, alg)
  const { browser, url, clock } = app
  const page = await signIn(app)
  expect(page.json()).toMatchObject({ user: 'johndoe', scopes: ['openid', 'email'] })
  expect((await browser.xhr(`${url}/renew`)).status).toBe(200)
  clock.advance(2 * HOUR)
  expect((await me(app)).json().user).toBe('johndoe')
  const revoked = await browser.step(`${url}/revoke`, { method: 'POST', from: url })
  expect(revoked.json()).toEqual({ local: true, remote: 'revoked' })
  expect((await me(app)).status).toBe(401)
})

test('an issuer with a slash at its end', async () => {
  const server = new OAuth2Server(undefined, undefined, { shouldIssuerUrlBeSuffixedWithATralingSlash: true })
  await server.issuer.keys.generate('RS256')
  await server.start(0, 'localhost')
  onTestFinished(() => server.stop())
  const issuer = server.issuer.url as string
  expect(issuer).toMatch(/\/$/)
  const start = (configured: string) =>
    foreignApp({ provider: { issuer: configured, normalizeTokenResponse: ({ scope: _, ...body }) => body } })
  expect((await signIn(await start(issuer))).json().user).toBe('johndoe')
  // Whoever leaves it out is told what to write: the two are different issuers.
  const page = await signIn(await start(issuer.replace(/\/$/, '')))
  expect(answer(page)).toEqual([500, 'FST_OAUTH2_PROVIDER_METADATA'])
  expect(page.body).toContain(`&#34;${issuer}&#34;`)
})

test('beforeTokenSigning: claims that are not those of this sign-in', async () => {
  const { server, app } = await mocked()
  for (const change of [
    { iss: 'https://evil.example' },
    { aud: 'another' },
    { exp: 1 },
    { sub: 5 },
    { nonce: 'another' },
    { nbf: 9_999_999_999 },
    { iat: 9_999_999_999 },
    { azp: 'another' },
  ]) {
    server.service.on('beforeTokenSigning', (token) => Object.assign(token.payload, change))
    expect(answer(await signIn(app)), JSON.stringify(change)).toEqual(REFUSED)
    server.service.removeAllListeners('beforeTokenSigning')
    app.browser.deleteCookie('localhost', '__Host-oauth2client.outcome')
    app.clock.advance(61_000)
  }
})

test('beforeTokenSigning: a header that names another key, or another way to sign', async () => {
  const { server, app } = await mocked()
  server.service.on('beforeTokenSigning', (token) => {
    token.header.kid = 'another'
  })
  expect((await signIn(app)).status).toBeGreaterThanOrEqual(500)
})

test('beforeResponse: whatever the token endpoint says', async () => {
  // Nothing is in doubt for longer than the answer takes.
  const { server, app } = await mocked({ refresh: { rotation: 'none' } })
  expect((await signIn(app)).status).toBe(200)
  for (const [change, expected] of [
    [{ statusCode: 500, body: '' }, DOWN],
    [{ statusCode: 201 }, DOWN],
    [{ statusCode: 400, body: { error: 'invalid_request' } }, REFUSED],
    [{ statusCode: 403, body: '' }, REFUSED],
    [{ body: {} }, DOWN],
    [{ body: { access_token: 'a b', token_type: 'Bearer' } }, DOWN],
    [{ body: { access_token: 'at', token_type: 'mac' } }, DOWN],
    [{ statusCode: 403, body: { error: 'invalid_grant' } }, [401, 'FST_OAUTH2_CREDENTIALS_REQUIRED']],
  ] as const) {
    app.clock.advance(2 * HOUR)
    server.service.once('beforeResponse', (response) => Object.assign(response, change))
    expect(answer(await me(app)), JSON.stringify(change)).toEqual(expected)
  }
})

test('beforeUserinfo: somebody else is nobody, and a failure is no address', async () => {
  const { server, app } = await mocked()
  server.service.once('beforeUserinfo', (response) => Object.assign(response, { statusCode: 500, body: {} }))
  expect((await signIn(app)).json()).toMatchObject({ user: 'johndoe', email: null })
  const another = await foreignApp({ provider: { ...(await mocked()).provider, issuer: server.issuer.url as string } })
  server.service.once('beforeUserinfo', (response) => Object.assign(response, { body: { sub: 'eve', email: 'e@x.y' } }))
  expect(answer(await signIn(another))).toEqual(REFUSED)
})

test('beforeAuthorizeRedirect: an answer that is another, or none', async () => {
  const { server, app } = await mocked()
  const spoiled = async (spoil: (url: URL) => void) => {
    server.service.once('beforeAuthorizeRedirect', ({ url }) => spoil(url))
    const page = answer(await signIn(app))
    app.clock.advance(61_000)
    return page
  }
  expect(await spoiled((url) => url.searchParams.set('state', 'another'))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
  expect(await spoiled((url) => url.searchParams.delete('state'))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
  expect(await spoiled((url) => url.searchParams.set('iss', 'https://evil.example'))).toEqual([
    400,
    'FST_OAUTH2_STATE_INVALID',
  ])
  expect(await spoiled((url) => url.searchParams.set('error', 'access_denied'))).toEqual([
    403,
    'FST_OAUTH2_ACCESS_DENIED',
  ])
  expect(await spoiled((url) => url.searchParams.set('code', 'another'))).toEqual(REFUSED)
})

test('beforeRevoke, beforeIntrospect: what came of it is told as it is', async () => {
  const { server, provider } = await mocked()
  const known = new Provider({ provider, ...REGISTRATION })
  for (const [statusCode, outcome] of [
    [200, 'revoked'],
    [204, 'revoked'],
    [400, 'failed'],
    [503, 'failed'],
  ] as const) {
    server.service.once('beforeRevoke', (response) => Object.assign(response, { statusCode }))
    expect(await revokeToken(known, 'rt')).toBe(outcome)
  }
  expect(await introspectToken(known, 'at')).toMatchObject({ active: true })
  for (const change of [{ statusCode: 401, body: '' }, { body: {} }, { body: { active: 'yes' } }]) {
    server.service.once('beforeIntrospect', (response) => Object.assign(response, change))
    await expect(introspectToken(known, 'at')).rejects.toMatchObject({ name: 'ProviderFailure' })
  }
})

test('beforePostLogoutRedirect: the person is signed out here, wherever the provider sends the browser', async () => {
  const { server, provider } = await mocked()
  for (const [spoil, expected] of [
    [() => {}, [200, undefined]],
    [(url: URL) => url.searchParams.set('state', 'another'), [400, 'FST_OAUTH2_LOGOUT_STATE_INVALID']],
    [(url: URL) => url.searchParams.delete('state'), [400, 'FST_OAUTH2_LOGOUT_STATE_INVALID']],
  ] as const) {
    const app = await foreignApp({ provider, providerLogout: true })
    expect((await signIn(app)).status).toBe(200)
    let sentBackTo = ''
    server.service.once('beforePostLogoutRedirect', ({ url }) => {
      sentBackTo = `${url.origin}${url.pathname}`
      spoil(url)
    })
    const { browser, url } = app
    const page = await browser.submit(await browser.goto(`${url}/leave`))
    expect([answer(page), sentBackTo]).toEqual([expected, `${url}/oauth2logout`])
    expect((await me(app)).status).toBe(401)
  }
})
