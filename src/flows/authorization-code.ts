/** The authorization code grant with PKCE. RFC 6749 section 4.1, RFC 7636, RFC 9207, OpenID Connect Core section 3.1. */
import { createHash } from 'node:crypto'
import { OptionError, ProviderMetadataError, StateInvalidError, StepUpFailedError } from '../errors.js'
import { isOfClass, joinRequirements, parseRequirements, type SignInRequirements } from '../provider/authentication.js'
import { type DPoPKey, thumbprintOf } from '../provider/dpop.js'
import type { Exchange } from '../provider/http.js'
import { type OpenIdClient, openidClient } from '../provider/libraries.js'
import { isSigned, type ResponseMode } from '../provider/profile.js'
import type { Provider } from '../provider/provider.js'
import { parseScopes } from '../provider/scopes.js'
import { authorizationError } from './authorization-error.js'
import { requestUrl } from './authorization-request.js'
import { mayNotSet, PROTECTED_PARAMS } from './protected-params.js'
import { dpopKeyFor } from './proven-exchange.js'
import { openAnswer } from './signed-answer.js'
import { requestTokens, type TokenSet } from './token-set.js'

/**
 * What has to be remembered between the authorization request and its answer. Plain JSON, so that another process can finish
 * what one began, and secret: whoever has it can finish in the person's place. {@link authorizationUrl} makes it,
 * {@link authorizationCodeGrant} wants it back.
 */
export interface AuthorizationRequest {
  /** The provider that it went to: the answer has to come from there. */
  readonly issuer: string
  /** Where the answer comes to, exactly as it was sent. */
  readonly redirectUri: string
  /** What was asked for, which need not be what is granted. */
  readonly scopes: readonly string[]
  /** Comes back with the answer, and binds it to this request. */
  readonly state: string
  /** The secret of PKCE. RFC 7636 section 4.1. */
  readonly codeVerifier: string
  /** Present when an ID token was asked for. */
  readonly nonce?: string
  /** Seconds since the person last proved who they are, where that was limited. OpenID Connect Core section 3.1.2.1. */
  readonly maxAge?: number
  /** How it is answered, where that is not in plain in the URL: nothing that comes another way is an answer to it. */
  readonly responseMode?: Exclude<ResponseMode, 'query'>
  /** What the tokens will be bound to, with the provider's `dpop`. RFC 9449. */
  readonly dpopKey?: DPoPKey
  /** Classes of authentication, where one of them was asked for. */
  readonly acrValues?: readonly string[]
}

/** What an authorization request asks for. For {@link authorizationUrl}. */
export interface AuthorizationUrlOptions extends SignInRequirements {
  /** Where the answer comes to: an absolute URL that is registered at the provider. */
  readonly redirectUri: string
  /** Default: none are named, and the provider decides. */
  readonly scopes?: readonly string[]
  /** Whether to ask again: `none`, `login`, `consent`, `select_account`. OpenID Connect Core section 3.1.2.1. */
  readonly prompt?: string
  /** Who will sign in: an e-mail address or user name for the sign-in form. */
  readonly loginHint?: string
  /** Further parameters. Those that protect the flow cannot be overridden. */
  readonly params?: Readonly<Record<string, string>>
}

/**
 * A code that somebody else asked for: a script in a popup, a mobile app. For {@link authorizationCodeGrant}. The code
 * of a mobile app comes with its redirect URI and its PKCE verifier.
 */
export interface ObtainedCode {
  /** Good for one use, within minutes. */
  readonly code: string
  /** What the code was asked for with. Default `'postmessage'`, the convention of Google's popups. */
  readonly redirectUri?: string
  /** Where the code was asked for with PKCE. */
  readonly codeVerifier?: string
  /** Where the code was asked for with a nonce: an ID token with it is then required. */
  readonly nonce?: string
}

/**
 * The first half: where to send the person, and what to remember until they come back. State, PKCE with S256 and, for
 * `openid`, a nonce are always there. With `openid`, what `acrValues` and `maxAge` ask for is also checked in the end.
 *
 * @throws {OptionError} when a further parameter is one that protects the flow, or `max_age` is no number of seconds
 * @throws {ProviderUnavailableError} when the provider's metadata cannot be looked up
 * @throws {ProviderMetadataError} when it can never work
 * @throws {ProviderFailure} when the provider does not take a pushed authorization request
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
  { redirectUri, scopes: wanted, prompt, loginHint, params = {}, ...required }: AuthorizationUrlOptions,
): Promise<{ url: string; request: AuthorizationRequest }> {
  if (!URL.canParse(redirectUri)) throw new OptionError('redirectUri', 'must be an absolute URL.')
  const scopes = parseScopes(wanted)
  const { authorizationParams = {}, scopeDelimiter = ' ', scopeParam = 'scope' } = provider.options
  for (const [option, given] of Object.entries({ params, 'provider.authorizationParams': authorizationParams })) {
    const name = Object.keys(given).find((key) => PROTECTED_PARAMS.has(key))
    if (name !== undefined) throw new OptionError(option, mayNotSet(name))
  }
  const extra = { ...authorizationParams, ...params }
  const { acrValues, maxAge } = joinRequirements({ maxAge: ageOf(extra.max_age) }, parseRequirements(required))
  const { issuer, jwks_uri, authorization_endpoint } = await provider.metadata()
  if (!authorization_endpoint)
    throw new ProviderMetadataError(
      `${issuer} names no authorization_endpoint, which people are sent to. Write it into "provider".`,
    )
  // Without keys, nobody could tell a real ID token from an invented one.
  if (scopes.includes('openid') && !jwks_uri)
    throw new ProviderMetadataError(
      `${issuer} names no jwks_uri, which verifying ID tokens needs. Write it into "provider", or take "openid" out of the scopes.`,
    )
  const dpopKey = await dpopKeyFor(provider)
  const client = await openidClient()
  const request: AuthorizationRequest = {
    issuer,
    redirectUri,
    scopes,
    state: client.randomState(),
    codeVerifier: client.randomPKCECodeVerifier(),
    ...(scopes.includes('openid') ? { nonce: client.randomNonce() } : {}),
    ...(maxAge === undefined ? {} : { maxAge }),
    ...(acrValues === undefined ? {} : { acrValues }),
    ...(provider.profile.responseMode ? { responseMode: provider.profile.responseMode } : {}),
    ...(dpopKey ? { dpopKey } : {}),
  }
  const url = await requestUrl(provider, {
    ...extra,
    ...(prompt === undefined ? {} : { prompt }),
    ...(loginHint === undefined ? {} : { login_hint: loginHint }),
    ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
    ...(acrValues === undefined ? {} : { acr_values: acrValues.join(' ') }),
    redirect_uri: redirectUri,
    ...(scopes.length > 0 ? { [scopeParam]: scopes.join(scopeDelimiter) } : {}),
    state: request.state,
    // RFC 7636 section 4.2. Through WebCrypto it would be a job for another thread.
    code_challenge: createHash('sha256').update(request.codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(request.nonce ? { nonce: request.nonce } : {}),
    ...(dpopKey ? { dpop_jkt: await thumbprintOf(dpopKey) } : {}),
  })
  return { url: withoutRepeatedParams(url), request }
}

/**
 * The second half: turns the answer into tokens.
 *
 * @param callback the callback's URL (whole, or path and query), or its query or form exactly as it was received
 * @throws {StateInvalidError} when it does not answer this request: another state, issuer, or a parameter twice
 * @throws {AccessDeniedError} when the person refused; other refusals are a {@link ClientRejectedError},
 * {@link ProviderUnavailableError}, {@link ExchangeFailedError} or {@link AuthorizationFailedError}
 * @throws {StepUpFailedError} when the person did not sign in by any of the `acrValues`
 * @throws {ProviderFailure} with `kind` telling whether trying again makes sense
 * @example
 * ```ts
 * import { authorizationCodeGrant, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function finish(provider: Provider, remembered: string, callbackUrl: string) {
 *   return authorizationCodeGrant(provider, JSON.parse(remembered), callbackUrl)
 * }
 * ```
 */
export async function authorizationCodeGrant(
  provider: Provider,
  request: AuthorizationRequest,
  callback: string | URL | URLSearchParams,
): Promise<TokenSet>
/**
 * Turns a code that was obtained elsewhere into tokens. Nothing binds such a code to the browser that sends it: whoever
 * accepts one over HTTP has to make sure that no other site can post it, or people end up in an attacker's account.
 *
 * @throws {ProviderFailure}
 * @example
 * ```ts
 * import { authorizationCodeGrant, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function fromPopup(provider: Provider, code: string) {
 *   return authorizationCodeGrant(provider, { code })
 * }
 * ```
 */
export async function authorizationCodeGrant(provider: Provider, obtained: ObtainedCode): Promise<TokenSet>
export async function authorizationCodeGrant(
  provider: Provider,
  begun: AuthorizationRequest | ObtainedCode,
  callback: string | URL | URLSearchParams = '',
): Promise<TokenSet> {
  if (typeof begun !== 'object' || begun === null) {
    throw new OptionError('request', 'must be the "request" that authorizationUrl() gave, or { code }.')
  }
  const { issuer } = await provider.metadata()
  const { redirectUri, query, expected } =
    'code' in begun ? fromElsewhere(begun, issuer) : answered(begun, await answerOf(provider, begun, callback), issuer)
  // The library takes the redirect URI from the URL, which loses a query and adds a slash; the form gets it as it was sent.
  const currentUrl = new URL(URL.canParse(redirectUri) ? redirectUri : issuer)
  currentUrl.search = query
  const [iss = '', ...more] = currentUrl.searchParams.getAll('iss')
  // The library knows the provider by one name only. Two of them are left for it to refuse.
  if (more.length === 0 && provider.isIssuer(iss)) currentUrl.searchParams.set('iss', issuer)
  const exchange: Exchange = { form: { redirect_uri: redirectUri } }
  const { nonce, maxAge, acrValues, codeVerifier, state, dpopKey } = expected
  const client = await openidClient()
  const tokens = await requestTokens(
    provider,
    (configuration) =>
      client
        .authorizationCodeGrant(configuration, currentUrl, {
          ...(state === undefined ? {} : { expectedState: state }),
          ...(codeVerifier === undefined ? {} : { pkceCodeVerifier: codeVerifier }),
          ...(nonce === undefined ? {} : { expectedNonce: nonce }),
          ...(maxAge === undefined || nonce === undefined ? {} : { maxAge }),
          idTokenExpected: nonce !== undefined,
        })
        .catch((error: unknown) => {
          throw refusalOf(client, error, exchange)
        }),
    // Of a code from elsewhere nobody here knows whether it was asked for with `openid`.
    {
      acceptIdToken: nonce !== undefined || 'code' in begun,
      exchange,
      dpopKey: await dpopKeyFor(provider, dpopKey),
    },
  )
  // Without an ID token nobody says how it was; then the API does that wanted to know.
  if (nonce !== undefined && !isOfClass(tokens.claims?.acr, { acrValues })) throw new StepUpFailedError()
  return tokens
}

// What is asked for is also checked, so it has to mean something.
function ageOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,15}$/.test(value)) return Number(value)
  throw new OptionError('max_age', 'must be a whole number of seconds, such as "300".')
}

interface Expected {
  readonly redirectUri: string
  readonly query: string
  readonly expected: Partial<
    Pick<AuthorizationRequest, 'state' | 'codeVerifier' | 'nonce' | 'maxAge' | 'acrValues' | 'dpopKey'>
  >
}

function answered(request: AuthorizationRequest, query: string, issuer: string): Expected {
  const { redirectUri, state, codeVerifier } = request
  // It has been outside: without these, the protocol library would not check what is not there.
  for (const [name, value] of Object.entries({ redirectUri, state, codeVerifier })) {
    if (typeof value !== 'string' || value === '') throw new OptionError('request', `has lost its "${name}".`)
  }
  // RFC 9700 section 4.4: a code goes to nobody but the provider that was asked for it.
  if (request.issuer !== issuer) throw new OptionError('request', `was made for another provider than ${issuer}.`)
  return { redirectUri, query, expected: request }
}

async function answerOf(
  provider: Provider,
  { responseMode }: AuthorizationRequest,
  callback: string | URL | URLSearchParams,
): Promise<string> {
  const query = queryOf(callback)
  return isSigned(responseMode) ? (await openAnswer(provider, new URLSearchParams(query))).toString() : query
}

function fromElsewhere(obtained: ObtainedCode, issuer: string): Expected {
  const { code, redirectUri = 'postmessage' } = obtained
  if (typeof code !== 'string' || code === '') throw new OptionError('code', 'must be a non-empty string.')
  // Whoever took the code from the callback has checked the issuer there, or nobody has.
  return { redirectUri, query: new URLSearchParams({ code, iss: issuer }).toString(), expected: { ...obtained } }
}

function queryOf(callback: string | URL | URLSearchParams): string {
  if (callback instanceof URL) return callback.search
  if (callback instanceof URLSearchParams) return callback.toString()
  if (typeof callback !== 'string') {
    throw new OptionError('callback', "must be the callback's URL or query: a string, URL or URLSearchParams.")
  }
  const [text = ''] = callback.split('#')
  return /^(https?:|[/?])/i.test(text) ? (text.split(/\?(.*)/s)[1] ?? '') : text
}

/** What is refused before anything was sent: the callback answers another request or in another way, or says no. */
function refusalOf(library: typeof OpenIdClient, error: unknown, exchange: Exchange): unknown {
  if (error instanceof library.AuthorizationResponseError) return authorizationError(error.error)
  return error instanceof library.ClientError && exchange.sent === undefined ? new StateInvalidError() : error
}

// An authorization endpoint may come with a query of its own; RFC 6749 section 3.1 forbids sending a parameter twice.
function withoutRepeatedParams(url: URL): string {
  // The last one counts: it is ours.
  for (const [name, value] of [...url.searchParams]) url.searchParams.set(name, value)
  return url.href
}
