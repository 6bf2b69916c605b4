import { randomBytes } from 'node:crypto'
import type * as OidcProvider from 'oidc-provider'
import { acrCheck } from './acr.js'
import { autoApproveRequest } from './auto-approve.js'
import { allowLocalRedirects, clientMetadata } from './clients.js'
import { type ConsentDesk, consentDesk } from './consent.js'
import { deviceFlow } from './device-pages.js'
import { consentCheck, grantOfUser, RefreshTokenHabits } from './google-habits.js'
import { pageHeaders } from './html.js'
import { interactionPages, interactionPath } from './interactions.js'
import type { AuthorizationServerOptions, AutoApprove, TestClient } from './options.js'
import { errorPage, signedOutPage, signOutPage } from './pages.js'
import { scopeBook } from './scopes.js'
import type { Signer } from './signer.js'
import type { ServerStorage } from './storage.js'
import { userOfSub } from './users.js'

/** The configuration of `oidc-provider` that makes it the test server. */

const DAY = 24 * 60 * 60

export interface ProviderParts {
  readonly oidc: typeof OidcProvider
  readonly issuer: string
  readonly clients: readonly TestClient[]
  readonly storage: ServerStorage
  readonly options: AuthorizationServerOptions
  readonly signer: Signer
  readonly autoApprove: (ctx: OidcProvider.KoaContextWithOIDC) => AutoApprove | undefined
}

export async function createProvider(parts: ProviderParts): Promise<OidcProvider.Provider> {
  const { oidc, issuer, clients, storage, options, signer, autoApprove } = parts
  const { accessTokenLifetime = 3600, rotateRefreshTokens = false, googleHabits = true, acrValues = [] } = options
  const scopes = scopeBook(options.scopes ?? {})
  const refreshTokens = new RefreshTokenHabits()

  const logoutBody = async (body: unknown) => {
    const sent = new URLSearchParams(body instanceof URLSearchParams || typeof body === 'string' ? body : '')
    const token = sent.get('logout_token')
    return token !== null && { body: new URLSearchParams({ logout_token: await signer.logoutToken(token) }) }
  }

  const provider: OidcProvider.Provider = new oidc.Provider(issuer, {
    acrValues: [...acrValues],
    adapter: (model) => storage.adapter(model),
    allowOmittingSingleRegisteredRedirectUri: false,
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    clientBasedCORS: () => false,
    clients: clients.map(clientMetadata),
    // What clients sign is dated by their clock, which is the test's.
    ...(options.clock && { clockTolerance: 1_000 * 365 * DAY }),
    conformIdTokenClaims: false,
    cookies: {
      keys: [randomBytes(32).toString('base64url')],
      // Browsers do not tell ports apart: the application under test may be another server on this host.
      names: { session: 'as_session', interaction: 'as_interaction', resume: 'as_interaction_resume' },
    },
    extraParams: {
      include_granted_scopes: null,
      // Runs for every authorization request, with or without the parameter, once the rest of it has been checked.
      access_type: (ctx) => approve(ctx),
    },
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      deviceFlow,
      dPoP: options.dpop
        ? { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options.dpop === 'nonce' }
        : { enabled: false },
      introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      pushedAuthorizationRequests: { enabled: false },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx) {
          const { session } = ctx.oidc
          ctx.set(pageHeaders(session?.state?.postLogoutRedirectUri))
          ctx.body = signOutPage(ctx.oidc.urlFor('end_session_confirm'), String(session?.state?.secret))
        },
        postLogoutSuccessSource(ctx) {
          ctx.type = 'html'
          ctx.set(pageHeaders())
          ctx.body = signedOutPage()
        },
      },
    },
    // Its own guard refuses addresses of this machine, which is where applications under test are.
    fetch: async (url, init) =>
      globalThis.fetch(url, { ...init, ...(await logoutBody(init?.body)), dispatcher: undefined } as RequestInit),
    findAccount(_ctx, sub) {
      const user = userOfSub(sub)
      if (user === undefined) return undefined
      const { email, name } = user
      return { accountId: sub, claims: () => ({ sub, email, email_verified: true, name }) }
    },
    interactions: { url: (_ctx, { uid }) => interactionPath(uid), policy: policy(oidc, googleHabits, acrValues) },
    jwks: { keys: [await signer.privateJwk()] },
    pkce: { required: () => true },
    renderError(ctx, { error, error_description }) {
      ctx.type = 'html'
      ctx.set(pageHeaders())
      ctx.body = errorPage(error, error_description)
    },
    responseTypes: ['code'],
    rotateRefreshToken: rotateRefreshTokens,
    scopes: [...scopes.names],
    ttl: {
      AccessToken: accessTokenLifetime,
      AuthorizationCode: 60,
      ClientCredentials: accessTokenLifetime,
      DeviceCode: 600,
      Grant: 365 * DAY,
      IdToken: 3600,
      Interaction: 3600,
      RefreshToken: 365 * DAY,
      Session: 14 * DAY,
    },
    ...(googleHabits && {
      expiresWithSession: () => false,
      issueRefreshToken: (_ctx, client, code) =>
        client.grantTypeAllowed('refresh_token') &&
        (code.kind === 'DeviceCode' || refreshTokens.earnsRefreshToken(code)),
      loadExistingGrant: (ctx) => grantOfUser(ctx, storage),
      revokeGrantPolicy: () => true,
    }),
  } satisfies OidcProvider.Configuration)

  const desk: ConsentDesk = consentDesk({ provider, storage, scopes, googleHabits })
  const approve = async (ctx: OidcProvider.KoaContextWithOIDC) => {
    const how = autoApprove(ctx)
    if (how !== undefined) await autoApproveRequest(ctx, how, desk, oidc.errors.AccessDenied, acrValues)
  }

  // Koa prints errors nobody listens for, such as forms that never end.
  provider.silent = true
  if (googleHabits) refreshTokens.watch(provider, storage)
  allowLocalRedirects(provider, clients)
  provider.use(interactionPages({ provider, desk, scopes, acrValues }))
  return provider
}

function policy({ interactionPolicy }: typeof OidcProvider, googleHabits: boolean, acrValues: readonly string[]) {
  const prompts = interactionPolicy.base()
  prompts.get('login')?.checks.add(acrCheck(interactionPolicy, acrValues))
  prompts.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0)
  if (googleHabits) {
    const checks = prompts.get('consent')?.checks
    checks?.remove('op_scopes_missing')
    checks?.add(consentCheck(interactionPolicy.Check))
  }
  return prompts
}
