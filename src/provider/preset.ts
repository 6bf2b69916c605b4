/**
 * What we know about a provider beyond its metadata: endpoints where there is no discovery, how scopes behave, how lasting
 * access is asked for, how refresh tokens rotate. Pure data and pure functions; presets and users write these.
 */
import type { Claims } from '../credentials/record.js'
import type { Fetch } from './http.js'

/** Authorization server metadata, in the names of RFC 8414 and OpenID Connect Discovery. */
export interface ProviderMetadata {
  readonly issuer: string
  readonly authorization_endpoint?: string
  readonly token_endpoint?: string
  readonly jwks_uri?: string
  readonly userinfo_endpoint?: string
  readonly revocation_endpoint?: string
  readonly introspection_endpoint?: string
  readonly end_session_endpoint?: string
  readonly device_authorization_endpoint?: string
  readonly scopes_supported?: readonly string[]
  readonly code_challenge_methods_supported?: readonly string[]
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly [name: string]: unknown
}

/** How a provider's scopes are to be read. */
export interface ScopeRules {
  /** Other spellings of the same scope: alias to the name that is compared. */
  readonly aliases?: Readonly<Record<string, string>>
  /** A granted scope that includes others. */
  readonly implies?: Readonly<Record<string, readonly string[]>>
  /** Scopes that are granted when asked for, though answers never list them. */
  readonly unreported?: readonly string[]
}

/** How a provider treats refresh tokens when they are used. */
export interface RotationProfile {
  /** `none`: stays the same. `rotating`: each use gives a new one. `strict`: and using an old one ends the grant. */
  readonly rotation: 'none' | 'rotating' | 'strict'
}

/** Who the tokens belong to, from a provider without ID tokens. */
export interface ProviderIdentity {
  /** Stable and never reassigned; not an e-mail address. */
  readonly id: string
  readonly email?: string
  readonly claims?: Claims
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
  readonly scopes?: ScopeRules
  /** Origins that the access token may be sent to besides the issuer's; `*.` stands for any subdomain. */
  readonly apiOrigins?: readonly string[]
  /** Added to every authorization request that may ask for more than before. Default: the union of scopes is enough. */
  readonly incrementalParams?: Readonly<Record<string, string>>
  /** How lasting access is asked for. Default: the scope `offline_access` where the metadata lists it (OIDC Core 11). */
  readonly offline?: { readonly params?: Readonly<Record<string, string>>; readonly scope?: string }
  readonly refresh?: RotationProfile
  /** Finds out whose tokens these are, where there is no ID token. Must reject when it cannot. */
  readonly identity?: (context: {
    readonly accessToken: string
    readonly fetch: Fetch
    readonly issuer: string
  }) => Promise<ProviderIdentity>
  /** Other spellings of the issuer in ID tokens. */
  readonly issuerAliases?: readonly string[]
  /** Asks about an access token, where there is no introspection endpoint; answers in the names of RFC 7662 section 2.2. */
  readonly introspect?: (context: {
    readonly accessToken: string
    readonly fetch: Fetch
    readonly issuer: string
  }) => Promise<Record<string, unknown>>
  /** Rewrites an answer of the token endpoint into what RFC 6749 section 5.1 asks for. */
  readonly normalizeTokenResponse?: (body: Record<string, unknown>) => Record<string, unknown>
}
