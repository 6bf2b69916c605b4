import type { ScopeInput } from '../../provider/scopes.js'
import type { Faults, TokenTweak } from './fault-types.js'

/**
 * What the test authorization server can be told, and what it shows. Nothing here needs `oidc-provider`, so the types
 * can be read without it being installed.
 */

/** A client that the server knows. See {@link startAuthorizationServer}. */
export interface TestClient {
  /** Any text without spaces. */
  readonly clientId: string
  /** Without a secret the client is a public one: it sends its `client_id` and nothing else to the token endpoint. */
  readonly clientSecret?: string
  /** Default: any `http` URL of the machine itself (`localhost`, `127.0.0.1`, `[::1]`), with any port and path. */
  readonly redirectUris?: readonly string[]
  /** Where the browser may go after a logout. Default: as for `redirectUris`. */
  readonly postLogoutRedirectUris?: readonly string[]
  /** Where to send logout tokens when a session ends; ID tokens then name the session (`sid`). Default: none are sent. */
  readonly backchannelLogoutUri?: string
}

/**
 * A scope besides `openid`, `profile`, `email` and `offline_access`, which every server knows. See
 * {@link startAuthorizationServer}.
 */
export interface TestScope {
  /** The words beside the box on the consent page. Default: the scope itself. */
  readonly description?: string
  /** Whether the person cannot untick it. Default `false`. */
  readonly required?: boolean
}

/**
 * Whoever signed in. Any user name works: nothing has to be registered first. What `body` of a {@link TestApiRoute} is
 * called with.
 */
export interface TestUser {
  /** The user name as typed into the sign-in form. */
  readonly name: string
  /** The subject of the ID token, `sub-` and the name: stable, and not the name itself. */
  readonly sub: string
  /** `<name>@example.test` */
  readonly email: string
}

/**
 * What was granted, without anybody who did so.
 *
 * @example
 * ```ts
 * import { signIn, startAuthorizationServer, type TestGrant } from 'fastify-oauth2client/testing'
 * import type { FastifyInstance } from 'fastify'
 *
 * async function signedInAs(app: FastifyInstance, grant: TestGrant) {
 *   const server = await startAuthorizationServer()
 *   return signIn(app, { ...grant, ...(await server.issueTokens(grant)) })
 * }
 * ```
 */
export interface TestGrant {
  /** The user name. */
  readonly user: string
  /** What was granted, in full. */
  readonly scopes: ScopeInput
  /** Default: the first of the server's clients. */
  readonly clientId?: string
}

/** Tokens that the server knows. What {@link AuthorizationServer.issueTokens} gives; see {@link TestGrant}. */
export interface IssuedTokens {
  /** Resources of `api` take it. */
  readonly accessToken: string
  /** The token endpoint takes it. */
  readonly refreshToken: string
  /** Seconds. */
  readonly expiresIn: number
}

/**
 * A resource that the server protects with its own access tokens.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer, type TestApiRoute } from 'fastify-oauth2client/testing'
 *
 * const files: TestApiRoute = { scope: 'files.read', body: ({ name }) => ({ files: [`notes of ${name}`] }) }
 * const server = await startAuthorizationServer({ scopes: { 'files.read': {} }, api: { '/files': files } })
 * ```
 */
export interface TestApiRoute {
  /** The scope that an access token has to cover. */
  readonly scope: string
  /** What is answered as JSON, or a function of the user whose access token it is. */
  readonly body: ((user: TestUser) => unknown) | object | string | number | boolean | null
}

/**
 * Answers the sign-in and the consent page in the place of a person.
 *
 * @example
 * ```ts
 * import { type AutoApprove, startAuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * const reluctant: AutoApprove = { user: 'bob', decline: ['files.read'] }
 * const server = await startAuthorizationServer({ scopes: { 'files.read': {} }, autoApprove: reluctant })
 * ```
 */
export interface AutoApprove {
  /** The user name that signs in. */
  readonly user: string
  /** Scopes to untick on the consent page. Scopes that cannot be declined are granted all the same. */
  readonly decline?: readonly string[]
  /** Refuse everything: the application gets `error=access_denied`. Default `false`. */
  readonly refuse?: boolean
}

/** Options of {@link startAuthorizationServer}. */
export interface AuthorizationServerOptions {
  /** Default `0`: any free port. */
  readonly port?: number
  /** The host of the issuer; the server listens on the loopback interface whatever it says. Default `localhost`. */
  readonly hostname?: string
  /** Default: one client `example-client` with a secret, which may use any redirect URI on this machine. */
  readonly clients?: readonly TestClient[]
  /** Scopes besides `openid`, `profile`, `email` and `offline_access`, by name; URLs are fine. Default: none. */
  readonly scopes?: Readonly<Record<string, TestScope>>
  /**
   * Classes of authentication (`acr`). Whoever is asked to sign in by one of them signs in again, by the first one that is
   * known, and the ID token says so. Default: none, and `acr_values` is ignored.
   */
  readonly acrValues?: readonly string[]
  /** Seconds. Default `3600`. */
  readonly accessTokenLifetime?: number
  /**
   * Whether every refresh returns a new refresh token and spends the old one. Using a spent one again revokes the whole
   * grant. Default `false`: a refresh token stays good, as with Google.
   */
  readonly rotateRefreshTokens?: boolean
  /**
   * Whether to behave as Google does where it differs from the specifications' defaults. Default `true`:
   *
   * - `include_granted_scopes=true` makes the tokens cover every scope that the user granted this client before;
   * - a refresh token needs `access_type=offline`, and comes with the user's first consent or after `prompt=consent`; devices
   *   always get one;
   * - a refresh answers without a refresh token (unless they rotate) and covers what was granted since;
   * - the consent page lists only what was not granted yet, an unticked scope is asked again the next time, and when
   *   there is nothing to ask there is no page;
   * - revoking any token removes the grant.
   *
   * With `false`, a refresh token needs the scope `offline_access` and `prompt=consent`; consent is remembered by the
   * browser's session, refusals included; and scopes are never joined.
   */
  readonly googleHabits?: boolean
  /**
   * Whether clients that prove the possession of a key get tokens that are bound to it (RFC 9449); with `'nonce'`, proofs need a
   * nonce of the server's, which the token endpoint and the resources of `api` give. Default `false`.
   */
  readonly dpop?: boolean | 'nonce'
  /** Protected resources on the same server, by path. Default: none. */
  readonly api?: Readonly<Record<string, TestApiRoute>>
  /** Sign in and consent without pages, for tests without a browser. Default: pages are shown. */
  readonly autoApprove?: AutoApprove
  /** The time, in milliseconds since the epoch: that of a `fakeClock`, say. Default `Date.now`. */
  readonly clock?: () => number
  /** What to do wrong from the start. Default: nothing. */
  readonly faults?: Faults
  /** What to change in token responses from the start. Default: nothing. */
  readonly tweak?: TokenTweak
}

/** One request to the token endpoint. An entry of {@link AuthorizationServer.tokenRequests}. */
export interface TokenRequest {
  /** Such as `authorization_code` or `refresh_token`; an empty string when the request had none. */
  readonly grantType: string
  /** Every parameter of the body. */
  readonly params: Readonly<Record<string, string>>
  /** The value of the `Authorization` header. */
  readonly authorization?: string
  /** The value of the `DPoP` header. */
  readonly dpop?: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** One request to a protected resource. An entry of {@link AuthorizationServer.apiRequests}. */
export interface ApiRequest {
  /** In capitals. */
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** The value of the `Authorization` header. */
  readonly authorization?: string
  /** The value of the `DPoP` header. */
  readonly dpop?: string
}

/**
 * A running authorization server. The lists hold what happened so far, newest last, and forget what is older than the
 * last thousand. {@link startAuthorizationServer} starts it.
 *
 * @example
 * ```ts
 * import type { AuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * function refreshes(server: AuthorizationServer): number {
 *   return server.tokenRequests.filter(({ grantType }) => grantType === 'refresh_token').length
 * }
 * ```
 */
export interface AuthorizationServer {
  /** For `provider: { issuer }`, or a preset with `issuer`. */
  readonly issuer: string
  /** Of the first client. */
  readonly clientId: string
  /** Of the first client; an empty string when it is a public one. */
  readonly clientSecret: string
  /** Every request to the token endpoint, including those that a fault swallowed. */
  readonly tokenRequests: readonly TokenRequest[]
  /** The parameters of every new authorization request. */
  readonly authorizationRequests: readonly Readonly<Record<string, string>>[]
  /** Every request to a resource of `api`. */
  readonly apiRequests: readonly ApiRequest[]
  /** Tokens that were posted to the revocation endpoint. */
  readonly revocations: readonly string[]
  /** Can be set at any time and holds for authorization requests that start later. */
  autoApprove: AutoApprove | undefined
  /** Can be changed at any time, as a whole or one by one. */
  faults: Faults
  /** Can be changed at any time, as a whole or one by one. */
  tweak: TokenTweak
  /** Milliseconds by which the server's clock is ahead; below zero it is behind. Can be changed at any time. Default `0`. */
  clockSkew: number
  /** Every access token issued so far is refused from now on. Refresh tokens stay good. */
  expireAccessTokens(): Promise<void>
  /**
   * As if the person had removed the application from their account: refresh tokens answer `invalid_grant`, access
   * tokens are refused, and the next sign-in asks for consent again. Without a user name, for everybody.
   */
  revokeGrants(user?: string): Promise<void>
  /** Tokens as if that user had granted those scopes to a client, for `signIn`; nobody is asked. */
  issueTokens(grant: TestGrant): Promise<IssuedTokens>
  /** With `dpop: 'nonce'`: resources of `api` refuse the nonce that they gave last. */
  renewDPoPNonce(): void
  /** Stops at once, cutting connections that are still open. */
  close(): Promise<void>
}
