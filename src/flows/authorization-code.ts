/** The authorization code grant with PKCE. RFC 6749 section 4.1, RFC 7636, RFC 9207, OpenID Connect Core section 3.1. */
import * as client from 'openid-client'
import { ProviderMetadataError } from '../errors.js'
import type { Provider } from '../provider/provider.js'
import { requestTokens, type TokenSet } from './token-set.js'

/** What has to be remembered between the authorization request and its answer. Plain JSON, and secret. */
export interface AuthorizationRequest {
  readonly issuer: string
  readonly redirectUri: string
  readonly scopes: readonly string[]
  readonly state: string
  readonly codeVerifier: string
  /** Present when an ID token was asked for. */
  readonly nonce?: string
  /** Seconds since the person last proved who they are, where that was limited. OpenID Connect Core section 3.1.2.1. */
  readonly maxAge?: number
}

/** What an authorization request asks for. */
export interface AuthorizationUrlOptions {
  readonly redirectUri: string
  readonly scopes?: readonly string[]
  /** Further parameters, such as `prompt` or `login_hint`. Those that protect the flow cannot be overridden. */
  readonly params?: Readonly<Record<string, string>>
}

/** Parameters that belong to the flow; nobody else's value may take their place. */
export const PROTECTED_PARAMS: ReadonlySet<string> = new Set([
  'client_id',
  'client_secret',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'nonce',
  'redirect_uri',
  'request',
  'request_uri',
  'response_mode',
  'response_type',
  'scope',
  'state',
])

/**
 * The first half: where to send the person, and what to remember until they come back.
 *
 * @throws {ProviderUnavailableError} when the provider's metadata cannot be looked up
 * @throws {ProviderMetadataError} when it can never work
 * @example
 * ```ts
 * import { authorizationUrl, Provider } from 'fastify-oauth2client/flows'
 *
 * async function start(provider: Provider) {
 *   const { url, request } = await authorizationUrl(provider, {
 *     redirectUri: 'http://127.0.0.1:8080/callback',
 *     scopes: ['openid', 'email'],
 *   })
 *   return { url, remember: JSON.stringify(request) }
 * }
 * ```
 */
export async function authorizationUrl(
  provider: Provider,
  { redirectUri, scopes = [], params = {} }: AuthorizationUrlOptions,
): Promise<{ url: string; request: AuthorizationRequest }> {
  const configuration = await provider.configuration()
  const { issuer, jwks_uri } = configuration.serverMetadata()
  // Without keys, nobody could tell a real ID token from an invented one.
  if (scopes.includes('openid') && !jwks_uri)
    throw new ProviderMetadataError(`${issuer} names no jwks_uri, which verifying ID tokens needs.`)
  const maxAge = Number(params.max_age ?? Number.NaN)
  const request: AuthorizationRequest = {
    issuer,
    redirectUri,
    scopes,
    state: client.randomState(),
    codeVerifier: client.randomPKCECodeVerifier(),
    ...(scopes.includes('openid') ? { nonce: client.randomNonce() } : {}),
    ...(scopes.includes('openid') && maxAge >= 0 ? { maxAge } : {}),
  }
  const { authorizationParams, scopeDelimiter = ' ', scopeParam = 'scope' } = provider.options
  const url = client.buildAuthorizationUrl(configuration, {
    ...authorizationParams,
    ...Object.fromEntries(Object.entries(params).filter(([name]) => !PROTECTED_PARAMS.has(name))),
    redirect_uri: redirectUri,
    ...(scopes.length > 0 ? { [scopeParam]: scopes.join(scopeDelimiter) } : {}),
    state: request.state,
    code_challenge: await client.calculatePKCECodeChallenge(request.codeVerifier),
    code_challenge_method: 'S256',
    ...(request.nonce ? { nonce: request.nonce } : {}),
  })
  return { url: withoutRepeatedParams(url), request }
}

/**
 * The second half: turns the answer into tokens.
 *
 * @param query the callback's query exactly as it was received, without the question mark
 * @throws {ProviderFailure} with `kind` telling whether trying again makes sense
 */
export async function authorizationCodeGrant(
  provider: Provider,
  request: AuthorizationRequest,
  query: string,
): Promise<TokenSet> {
  const configuration = await provider.configuration()
  // Built from what was configured, never from the request's Host: the provider compares it to the authorization request's.
  const currentUrl = new URL(request.redirectUri)
  currentUrl.search = query
  const iss = currentUrl.searchParams.get('iss')
  // The library knows the provider by one name only.
  if (iss !== null && iss !== request.issuer && provider.isIssuer(iss))
    currentUrl.searchParams.set('iss', request.issuer)
  return requestTokens(provider, request.nonce !== undefined, {}, () =>
    client.authorizationCodeGrant(configuration, currentUrl, {
      expectedState: request.state,
      pkceCodeVerifier: request.codeVerifier,
      ...(request.nonce === undefined ? {} : { expectedNonce: request.nonce }),
      ...(request.maxAge === undefined ? {} : { maxAge: request.maxAge }),
      idTokenExpected: request.nonce !== undefined,
    }),
  )
}

// An authorization endpoint may come with a query of its own; RFC 6749 section 3.1 forbids sending a parameter twice.
function withoutRepeatedParams(url: URL): string {
  for (const name of new Set(url.searchParams.keys())) {
    const last = url.searchParams.getAll(name).at(-1)
    if (last !== undefined && url.searchParams.getAll(name).length > 1) url.searchParams.set(name, last)
  }
  return url.href
}
