/** Several providers, some of them hostile: whose answer is it, and who gets the code? RFC 9700 section 4.4, RFC 9207. */
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client from '../../src/index.js'
import { google, microsoft } from '../../src/provider/presets/index.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import {
  type ScriptedProvider,
  type ScriptedProviderOptions,
  startScriptedProvider,
} from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies } from '../routes/flow.js'

const STATE_INVALID = [400, 'FST_OAUTH2_STATE_INVALID']

async function startOther(options?: ScriptedProviderOptions): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider(options)
  onTestFinished(() => provider.close())
  return provider
}

/** An app with the honest provider as `oauth2`, and another one, of the same client id, as `other`. */
async function startBoth(options: TestAppOptions = {}, honest?: ScriptedProvider) {
  const other = await startOther()
  const app = await startApp({
    ...options,
    ...(honest && { provider: honest }),
    routes(server) {
      server.register(oauth2Client, {
        name: 'other',
        provider: { issuer: other.issuer },
        clientId: other.clientId,
        clientSecret: other.clientSecret as string,
      })
    },
  })
  return { app, other, honest: app.provider }
}

/** The provider neither promises `iss` nor sends it. */
function silent(provider: ScriptedProvider): void {
  provider.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
  provider.authorizeAnswer = (_params, defaults) => {
    const { iss: _iss, ...rest } = defaults()
    return rest
  }
}

describeEachSession((variant) => {
  test('B1, B8: an answer that says it comes from the other provider reaches neither, and the flow goes on', async () => {
    const { app, other, honest } = await startBoth({ variant })
    const { callback } = await begin(app, '/oauth2authorize?return_url=/profile')
    for (const params of [{}, { code: null, error: 'access_denied' }]) {
      expect(answer(await back(app, altered(callback, { iss: other.issuer, ...params })))).toEqual(STATE_INVALID)
    }
    expect([honest.count('token'), other.count('token')]).toEqual([0, 0])
    expect((await app.browser.goto(callback)).json()).toMatchObject({ user: 'sub-alice' })
  })

  test('B3: whoever does not promise iss and sends it all the same is held to it', async () => {
    const { app, other, honest } = await startBoth({ variant })
    honest.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
    const { callback } = await begin(app)
    expect(answer(await back(app, altered(callback, { iss: other.issuer })))).toEqual(STATE_INVALID)
    expect([honest.count('token'), other.count('token')]).toEqual([0, 0])
    expect((await back(app, callback)).status).toBe(303)
  })

  test('B4: without any iss, an answer to one provider’s flow on the path of the other is refused', async () => {
    const { app, other, honest } = await startBoth({ variant })
    silent(honest)
    silent(other)
    const mine = await begin(app)
    const theirs = await begin({ ...app, provider: other }, '/oauth2authorize/other')
    for (const { callback } of [mine, theirs]) expect(new URL(callback).searchParams.has('iss')).toBe(false)
    const crossed = [
      mine.callback.replace('/oauth2callback', '/oauth2callback/other'),
      theirs.callback.replace('/oauth2callback/other', '/oauth2callback'),
    ]
    for (const callback of crossed) expect(answer(await back(app, callback))).toEqual(STATE_INVALID)
    expect([honest.count('token'), other.count('token')]).toEqual([0, 0])
    for (const { callback } of [mine, theirs]) expect((await back(app, callback)).status).toBe(303)
    expect([honest.count('token'), other.count('token')]).toEqual([1, 1])
  })

  test('B5: a hostile provider that sends people to an honest one does not get the code that they come back with', async () => {
    const { app, other: hostile, honest } = await startBoth({ variant })
    hostile.metadata = (metadata) => ({ ...metadata, authorization_endpoint: `${honest.issuer}/authorize` })
    const page = await app.browser.goto(`${app.url}/oauth2authorize/other`)
    expect(page.chain.map(({ url }) => new URL(url).origin)).toContain(honest.issuer)
    expect(answer(page)).toEqual(STATE_INVALID)
    expect([honest.count('token'), hostile.count('token')]).toEqual([0, 0])
    expect((await app.browser.goto(`${app.url}/`)).json()).toMatchObject({ has: false })
  })
})

test('B5: nor from an honest provider without iss, which knows only its own redirect URI', async () => {
  const redirectUris: string[] = []
  const honest = await startOther({ redirectUris })
  silent(honest)
  const { app, other: hostile } = await startBoth({}, honest)
  redirectUris.push(`${app.url}/oauth2callback`)
  hostile.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => ({
    ...metadata,
    authorization_endpoint: `${honest.issuer}/authorize`,
  })
  const page = await app.browser.goto(`${app.url}/oauth2authorize/other`)
  expect([page.status, new URL(page.url).origin]).toEqual([400, honest.issuer])
  // Its own flow works, so that it was the redirect URI that it minded.
  expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  expect(hostile.count('token')).toBe(0)
})

test('B5: nothing in a callback says where its code goes', async () => {
  const { app, other, honest } = await startBoth()
  const { callback } = await begin(app)
  const endpoints = {
    issuer: other.issuer,
    token_endpoint: `${other.issuer}/token`,
    jwks_uri: `${other.issuer}/jwks`,
    userinfo_endpoint: `${other.issuer}/userinfo`,
    redirect_uri: `${other.issuer}/callback`,
    client_id: 'another',
    client: 'other',
    provider: 'other',
  }
  expect((await back(app, altered(callback, endpoints))).status).toBe(303)
  expect([honest.count('token'), other.requests]).toEqual([1, []])
})

test.each<[string, (issuer: string) => string]>([
  ['a slash at the end', (issuer) => `${issuer}/`],
  ['127.0.0.1 for localhost', (issuer) => issuer.replace('localhost', '127.0.0.1')],
  ['another port', (issuer) => issuer.replace(/\d+$/, '1')],
  ['another provider', () => 'https://evil.example'],
])('B6: metadata that differs by %s is refused, and the log names both', async (_name, change) => {
  const app = await startApp()
  const found = change(app.provider.issuer)
  app.provider.metadata = (metadata) => ({ ...metadata, issuer: found })
  expect(answer(await app.browser.goto(`${app.url}/oauth2authorize`))).toEqual([500, 'FST_OAUTH2_PROVIDER_METADATA'])
  expect(app.logs.text()).toContain(
    `the configured issuer is \\"${app.provider.issuer}\\", but its metadata says \\"${found}\\"`,
  )
  expect(flowCookies(app.browser)).toEqual([])
})

test('B6: tenants of one provider are let in by pattern, and nobody else is', async () => {
  const issuers = microsoft({ tenant: 'common' }).validIssuer as (issuer: string) => boolean
  expect(issuers('https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0')).toBe(true)
  expect(issuers('https://login.microsoftonline.com.evil.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0')).toBe(
    false,
  )
  expect(google().validIssuer).toBeUndefined()
})

test.each(['authorization_endpoint', 'token_endpoint', 'jwks_uri', 'userinfo_endpoint', 'revocation_endpoint'])(
  'B7: %s over plain HTTP to another machine is refused before anybody is sent anywhere',
  async (endpoint) => {
    const app = await startApp()
    app.provider.metadata = (metadata) => ({ ...metadata, [endpoint]: 'http://login.example/x' })
    expect(answer(await app.browser.goto(`${app.url}/profile`))).toEqual([500, 'FST_OAUTH2_PROVIDER_METADATA'])
    expect(app.provider.count('authorize')).toBe(0)
    expect(flowCookies(app.browser)).toEqual([])
  },
)

describeEachSession((variant) => {
  test('B7: endpoints may be on another host, and a flow that began stays with them, whatever the metadata says by then', async () => {
    const thief = await startOther()
    const app = await startApp({ variant })
    const elsewhere = app.provider.issuer.replace('localhost', '127.0.0.1')
    app.provider.metadata = (metadata) => ({
      ...metadata,
      token_endpoint: `${elsewhere}/token`,
      jwks_uri: `${elsewhere}/jwks`,
    })
    const { callback } = await begin(app, '/profile')
    app.provider.metadata = (metadata) => ({
      ...metadata,
      token_endpoint: `${thief.issuer}/token`,
      jwks_uri: `${thief.issuer}/jwks`,
    })
    expect((await app.browser.goto(callback)).json()).toMatchObject({ user: 'sub-alice' })
    const [asked] = app.provider.requests.filter(({ endpoint }) => endpoint === 'token')
    expect(asked?.headers.host).toBe(new URL(elsewhere).host)
    expect(thief.requests).toEqual([])
  })

  test('B8: an ID token that another provider signed for the same client id signs nobody in', async () => {
    const { app, other, honest } = await startBoth({ variant })
    honest.signIdToken = (claims) => other.sign({ ...claims, iss: other.issuer })
    const { callback } = await begin(app)
    expect(answer(await back(app, callback))).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
    // Nor when it says that it was issued by the one that was asked.
    honest.signIdToken = (claims) => other.sign(claims)
    const again = await begin(app)
    expect(answer(await back(app, again.callback))).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
    expect((await app.browser.goto(`${app.url}/`)).json()).toMatchObject({ user: null, has: false })
  })
})
