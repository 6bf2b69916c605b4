/** A certified authorization server, with each of its switches that changes the shape of what it answers. */
import type { ClientMetadata, Configuration } from 'oidc-provider'
import { expect, test } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import type { Page } from '../helpers/browser.js'
import { type Context, type OidcServerOptions, startOidcServer } from '../helpers/oidc-server.js'
import { answer } from '../routes/flow.js'
import { type ForeignApp, foreignApp, freePort, signIn } from './app.js'

const HOUR = 3_600_000
const RESOURCE = 'https://api.example.com'

interface Switches extends Omit<OidcServerOptions, 'client'> {
  readonly client?: Partial<ClientMetadata>
  /** Options of ours. */
  readonly options?: Partial<OAuth2ClientOptions> | ((issuer: string) => Partial<OAuth2ClientOptions>)
}

interface Running extends ForeignApp {
  readonly issuer: string
}

async function running({ client, options, ...server }: Switches): Promise<Running> {
  const port = await freePort()
  const registration = {
    client_id: 'app',
    client_secret: 'a-secret-that-is-long-enough-for-all',
    redirect_uris: [`http://localhost:${port}/oauth2callback`],
    post_logout_redirect_uris: [`http://localhost:${port}/oauth2logout`],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    ...client,
  } as ClientMetadata
  const issuer = await startOidcServer({ ...server, client: registration })
  const { client_id: clientId, client_secret: clientSecret } = registration
  const app = await foreignApp(
    {
      provider: { issuer },
      clientId,
      clientSecret,
      providerLogout: true,
      ...(typeof options === 'function' ? options(issuer) : options),
    } as Partial<OAuth2ClientOptions>,
    { port },
  )
  return { ...app, issuer }
}

const me = ({ browser, url }: ForeignApp) => browser.xhr(`${url}/me`)

/** A whole life; what is peculiar, a test looks at meanwhile. */
async function live(app: Running, look: (page: Page) => Promise<void> | void = () => {}): Promise<void> {
  const { browser, url, clock } = app
  const page = await signIn(app)
  expect([page.status, page.url], page.body.replace(/<style>.*?<\/style>/gs, '')).toEqual([200, `${url}/me`])
  await look(page)
  const { user } = page.json()
  expect((await browser.xhr(`${url}/renew`)).body).toBe('true')
  clock.advance(2 * HOUR)
  expect((await me(app)).json()).toMatchObject({ user, email: 'alice@example.com' })

  // Out here and there, and in again.
  let out = await browser.submit(await browser.goto(`${url}/leave`))
  expect(out.url).toContain(app.issuer)
  out = await browser.submit(out)
  expect(out.body).toBe('front page')
  expect((await me(app)).status).toBe(401)
  expect((await signIn(app)).json().user).toBe(user)

  const revoked = await browser.step(`${url}/revoke`, { method: 'POST', from: url })
  expect(revoked.json()).toEqual({ local: true, remote: 'revoked' })
  expect((await me(app)).status).toBe(401)
}

const SIGNED_USERINFO = { features: { jwtUserinfo: { enabled: true } } }
const SECRET = "-_.!~*'()+ &%=:/?#[]@ of a client"

const TTL = { AccessToken: 3_600, AuthorizationCode: 60, Grant: 86_400, Interaction: 300, RefreshToken: 86_400 }
const FOR_RESOURCE = { authorizationParams: { resource: RESOURCE } }

function withoutIss(ctx: Context, promised = false): void {
  const { body } = ctx as { body?: { authorization_response_iss_parameter_supported?: boolean } }
  if (ctx.path.startsWith('/.well-known/') && !promised) delete body?.authorization_response_iss_parameter_supported
  const location = ctx.response.get('location') ?? ''
  if (!location.includes('code=')) return
  const url = new URL(location)
  url.searchParams.delete('iss')
  ctx.set('location', url.href)
}

const resourceServer = (accessTokenFormat: 'jwt' | 'opaque'): Configuration => ({
  features: {
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'openid email offline_access',
        audience: RESOURCE,
        accessTokenFormat,
        jwt: { sign: { alg: 'RS256' as const } },
      }),
    },
  },
})

test.each<[string, Switches]>([
  ['as it comes', {}],
  ['ID tokens with PS256', { algorithms: ['PS256'], client: { id_token_signed_response_alg: 'PS256' } }],
  ['ID tokens with ES256', { algorithms: ['ES256'], client: { id_token_signed_response_alg: 'ES256' } }],
  ['ID tokens with EdDSA', { algorithms: ['EdDSA'], client: { id_token_signed_response_alg: 'EdDSA' } }],
  [
    'ID tokens with ES256 among keys of all kinds',
    { algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'], client: { id_token_signed_response_alg: 'ES256' } },
  ],
  [
    'a secret of special characters, in a form',
    { client: { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' } },
  ],
  [
    'a secret of special characters, as Basic',
    {
      client: { client_id: "app -_.!~*'()+&%:", client_secret: SECRET },
      options: { clientAuthentication: 'client_secret_basic' },
    },
  ],
  [
    'a public client',
    {
      client: { client_secret: undefined, token_endpoint_auth_method: 'none' } as never,
      options: { clientAuthentication: 'none' },
    },
  ],
  ['refresh tokens that are replaced', { configuration: { rotateRefreshToken: true } }],
  ['refresh tokens that stay', { configuration: { rotateRefreshToken: false } }],
  ['claims that are in userinfo only', { configuration: { conformIdTokenClaims: true } }],
  [
    'userinfo that is signed',
    {
      client: { userinfo_signed_response_alg: 'RS256' },
      configuration: { conformIdTokenClaims: true, ...SIGNED_USERINFO },
    },
  ],
  [
    'userinfo that is signed in another way than ID tokens',
    {
      algorithms: ['RS256', 'ES256'],
      client: { userinfo_signed_response_alg: 'ES256' },
      configuration: { conformIdTokenClaims: true, ...SIGNED_USERINFO },
    },
  ],
  ['an issuer with a path', { path: '/realms/a' }],
  ['access tokens that are JWTs', { configuration: resourceServer('jwt'), options: FOR_RESOURCE }],
  ['opaque access tokens for a resource', { configuration: resourceServer('opaque'), options: FOR_RESOURCE }],
  ['ID tokens that last a second', { configuration: { ttl: { ...TTL, IdToken: 1 } } }],
  ['answers without iss', { after: withoutIss }],
])('%s: sign-in, guard, refresh, sign-out, revocation', async (name, switches) => {
  const app = await running(switches)
  await live(app, async (page) => {
    const scopes = ['openid', 'email', 'offline_access']
    expect(page.json()).toMatchObject({ user: 'alice', email: 'alice@example.com', scopes })
    const { body } = await app.browser.xhr(`${app.url}/token`)
    expect(body.split('.')).toHaveLength(name.includes('JWT') ? 3 : 1)
    expect(app.calls.some((path) => path.endsWith('/me'))).toBe(name.includes('userinfo'))
  })
})

test('pairwise subjects: a name of the person that is for this client alone, and always the same', async () => {
  const app = await running({
    client: { subject_type: 'pairwise' },
    configuration: {
      subjectTypes: ['public', 'pairwise'],
      pairwiseIdentifier: (_ctx, accountId, { clientId }) => `${accountId}-at-${clientId}`,
    },
  })
  await live(app, (page) => expect(page.json().user).toBe('alice-at-app'))
})

test('scopes that are dropped without a word are not granted, and asked for once', async () => {
  const app = await running({
    grant: (scopes) => scopes.filter((scope) => scope !== 'profile'),
    configuration: { claims: { openid: ['sub'], email: ['email'], profile: ['name'] } },
    options: { optionalScopes: ['profile'] },
  })
  await live(app, (page) => expect(page.json().scopes).toEqual(['openid', 'email', 'offline_access']))
})

test('no refresh token without offline_access: signed in until the access token ends, then asked again', async () => {
  const app = await running({ options: (issuer) => ({ provider: { issuer, offline: {} } }) })
  const { browser, url, clock } = app
  expect((await signIn(app)).json().scopes).toEqual(['openid', 'email'])
  expect((await me(app)).status).toBe(200)
  clock.advance(HOUR)
  expect(answer(await me(app))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  expect((await browser.goto(`${url}/me`)).json().user).toBe('alice')
})

test('B2: an answer without the iss that was promised is none', async () => {
  const app = await running({ after: (ctx) => withoutIss(ctx, true) })
  expect(answer(await signIn(app))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
})
