/**
 * What we know about a provider beyond its metadata: endpoints where there is no discovery, how scopes behave, how lasting
 * access is asked for, how refresh tokens rotate. Pure data and pure functions; presets and users write these.
 */
import type { Claims } from '../credentials/record.js'
import type { ClientAuthentication } from './client-authentication.js'
import type { DPoPProofRequest } from './dpop.js'
import type { Fetch } from './http.js'

/**
 * Authorization server metadata, in the names of RFC 8414 and OpenID Connect Discovery. Part of
 * {@link ProviderOptions}; whatever is not written here is looked up, if the two endpoints are not.
 */
export interface ProviderMetadata {
  /** Exactly as the provider writes it, for it is compared as text. */
  readonly issuer: string
  /** Where people are sent. RFC 6749 section 3.1. */
  readonly authorization_endpoint?: string
  /** Where codes and refresh tokens are exchanged. RFC 6749 section 3.2. */
  readonly token_endpoint?: string
  /** The keys that ID tokens are signed with; needed with `openid`. */
  readonly jwks_uri?: string
  /** OpenID Connect Core section 5.3. */
  readonly userinfo_endpoint?: string
  /** RFC 7009. Without it, and without `revoke`, a grant cannot be ended from here. */
  readonly revocation_endpoint?: string
  /** RFC 7662. */
  readonly introspection_endpoint?: string
  /** Where people sign out. OpenID Connect RP-Initiated Logout 1.0. */
  readonly end_session_endpoint?: string
  /** RFC 8628. */
  readonly device_authorization_endpoint?: string
  /** RFC 9126. */
  readonly pushed_authorization_request_endpoint?: string
  /** Scopes that the provider knows. `offline_access` among them has us ask for it. */
  readonly scopes_supported?: readonly string[]
  /** RFC 7636. S256 is used whatever it says. */
  readonly code_challenge_methods_supported?: readonly string[]
  /** Whether each answer names its issuer, which is then required. RFC 9207. */
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly [name: string]: unknown
}

/**
 * How a provider's scopes are to be read.
 *
 * @example
 * ```ts
 * import type { ScopeRules } from 'fastify-oauth2client/providers'
 *
 * const scopes: ScopeRules = {
 *   aliases: { mail: 'https://api.example.com/mail' },
 *   implies: { 'repo:write': ['repo:read'] },
 *   unreported: ['offline_access'],
 * }
 * ```
 */
export interface ScopeRules {
  /** Other spellings of the same scope: alias to the name that is compared. A function where there are too many to list. */
  readonly aliases?: Readonly<Record<string, string>> | ((scope: string) => string)
  /** A granted scope that includes others, by the names that are compared. */
  readonly implies?: Readonly<Record<string, readonly string[]>>
  /** Scopes that are granted when asked for, though answers never list them. */
  readonly unreported?: readonly string[]
}

/**
 * How a provider treats refresh tokens when they are used.
 *
 * @example
 * ```ts
 * import type { ProviderOptions, RotationProfile } from 'fastify-oauth2client/providers'
 *
 * const refresh: RotationProfile = { rotation: 'strict', grace: 30 }
 * const provider: ProviderOptions = { issuer: 'https://login.example.com', refresh }
 * ```
 */
export interface RotationProfile {
  /**
   * `none`: stays the same, or goes on working beside a new one. `rotating`: each use gives a new one. `strict`: and using
   * an old one ends the grant.
   */
  readonly rotation: 'none' | 'rotating' | 'strict'
  /**
   * Seconds after its first use for which a replaced refresh token still works, so that an answer that got lost can be asked
   * for again. Default 0: nobody knows of any.
   */
  readonly grace?: number
}

/**
 * Who the tokens belong to, from a provider without ID tokens.
 *
 * @example
 * ```ts
 * import type { IdentityContext, ProviderIdentity } from 'fastify-oauth2client/providers'
 *
 * async function identity({ accessToken, fetch }: IdentityContext): Promise<ProviderIdentity> {
 *   const headers = { authorization: `Bearer ${accessToken}` }
 *   const response = await fetch('https://api.example.org/me', { headers })
 *   if (!response.ok) throw new Error(`/me answered ${response.status}`)
 *   const { id, email } = (await response.json()) as { id: number; email: string }
 *   return { id: String(id), email }
 * }
 * ```
 */
export interface ProviderIdentity {
  /** Stable and never reassigned; not an e-mail address. */
  readonly id: string
  /** For display: it is not an identity. */
  readonly email?: string
  /** What else is known about the person, for `request.oauth2.claims`. */
  readonly claims?: Claims
}

/** What there is to know when a person is to be identified without an ID token. See {@link ProviderIdentity}. */
export interface IdentityContext {
  /** Secret. */
  readonly accessToken: string
  /** What to send along in the header `DPoP` where the access token is bound to a key. RFC 9449. */
  readonly dpopProof?: (request: DPoPProofRequest) => Promise<string>
  /** With the deadline and the size limit of every call to the provider. */
  readonly fetch: Fetch
  /** Of the provider as it is configured, for presets that move with it. */
  readonly issuer: string
}

/**
 * What there is to know when a grant is to end in a provider's own way.
 *
 * @example
 * ```ts
 * import type { RevocationContext } from 'fastify-oauth2client/providers'
 *
 * async function revoke({ accessToken, clientId, clientSecret, fetch }: RevocationContext): Promise<boolean> {
 *   const response = await fetch(`https://api.example.org/applications/${clientId}/grant`, {
 *     method: 'DELETE',
 *     headers: { authorization: `Basic ${btoa(`${clientId}:${clientSecret}`)}`, 'x-token': accessToken },
 *   })
 *   return response.ok || response.status === 404
 * }
 * ```
 */
export interface RevocationContext extends IdentityContext {
  /** Ours. */
  readonly clientId: string
  /** Ours; `undefined` for clients without one. */
  readonly clientSecret?: string | undefined
}

/**
 * A provider. `{ issuer }` alone means discovery; with `authorization_endpoint` and `token_endpoint` nothing is looked up.
 *
 * @example
 * ```ts
 * import type { ProviderOptions } from 'fastify-oauth2client'
 *
 * const discovered: ProviderOptions = { issuer: 'https://login.example.com' }
 * const written: ProviderOptions = {
 *   issuer: 'https://auth.example.org',
 *   authorization_endpoint: 'https://auth.example.org/authorize',
 *   token_endpoint: 'https://auth.example.org/token',
 * }
 * ```
 */
export interface ProviderOptions extends ProviderMetadata {
  /** How scopes compare. Default: by name. */
  readonly scopes?: ScopeRules
  /** Origins that the access token may be sent to besides the issuer's; `*.` stands for any subdomain. */
  readonly apiOrigins?: readonly string[]
  /** Asked for where the option `scopes` is not set. Default: `['openid', 'email']` with OpenID Connect, else none. */
  readonly defaultScopes?: readonly string[]
  /** Scopes that `identity` needs: asked for besides all others. */
  readonly identityScopes?: readonly string[]
  /** The parameter that holds the scopes in an authorization request. Default `'scope'`. */
  readonly scopeParam?: string
  /** What separates scopes in an authorization request. Default: a space (RFC 6749 section 3.3). */
  readonly scopeDelimiter?: string
  /** Added to every authorization request. The option `authorizationParams` wins. */
  readonly authorizationParams?: Readonly<Record<string, string>>
  /** Added to every authorization request that may ask for more than before. Default: the union of scopes is enough. */
  readonly incrementalParams?: Readonly<Record<string, string>>
  /** How lasting access is asked for. Default: the scope `offline_access` where the metadata lists it (OIDC Core 11). */
  readonly offline?: { readonly params?: Readonly<Record<string, string>>; readonly scope?: string }
  /** Default: the strictest kind. A mistake in the other direction ends people's grants. */
  readonly refresh?: RotationProfile
  /**
   * How a client with a secret authenticates, unless the option says otherwise. Default: `client_secret_post`, or
   * `client_secret_basic` where the metadata lists only that one of the two.
   */
  readonly clientAuthentication?: ClientAuthentication
  /** How requests to the token and revocation endpoints are written. Default: `'form'` (RFC 6749 section 4.1.3). */
  readonly requestBody?: 'form' | 'json'
  /**
   * Whether an issuer is this provider by another name: asked about the metadata's, about the `iss` of an answer (RFC 9207)
   * and of an ID token. For providers with tenants, whose metadata may say `{tenantid}` where an ID token has its `tid`.
   */
  readonly validIssuer?: (issuer: string) => boolean
  /** Finds out whose tokens these are, where there is no ID token. Must reject when it cannot. */
  readonly identity?: (context: IdentityContext) => Promise<ProviderIdentity>
  /** Other spellings of the issuer in ID tokens. */
  readonly issuerAliases?: readonly string[]
  /** Asks about an access token, where there is no introspection endpoint; answers in the names of RFC 7662 section 2.2. */
  readonly introspect?: (context: IdentityContext) => Promise<Record<string, unknown>>
  /** Members of the token endpoint's answer that are kept among the claims, such as an API's address. */
  readonly tokenClaims?: readonly string[]
  /** Rewrites an answer of the token endpoint, errors too, into what RFC 6749 sections 5.1 and 5.2 ask for. */
  readonly normalizeTokenResponse?: (body: Record<string, unknown>) => Record<string, unknown>
  /** What error codes of its own mean, in those of RFC 6749 section 5.2. Read after `normalizeTokenResponse`. */
  readonly errors?: Readonly<Record<string, string>>
  /**
   * Ends a grant where RFC 7009 is not spoken; resolves to whether the provider knows it no more. It is given an access
   * token: one that was fetched for the purpose, where there is a refresh token.
   */
  readonly revoke?: (context: RevocationContext) => Promise<boolean>
}
