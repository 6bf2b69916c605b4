/** What a token endpoint gave, checked beyond what the protocol library checks. */
import type { Configuration, TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client'
import type { Claims } from '../credentials/record.js'
import { OAuth2ClientError, ProviderUnavailableError } from '../errors.js'
import type { DPoPKey } from '../provider/dpop.js'
import { classify, ProviderFailure } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import { isFromTenant } from '../provider/issuers.js'
import { toNumber, toText } from '../provider/json.js'
import { keySetOf } from '../provider/key-set.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { readScopes } from '../provider/scopes.js'
import { checkSignature, isAboutToken } from './id-token-signature.js'
import { provenExchange } from './proven-exchange.js'

/**
 * One successful answer of a token endpoint. RFC 6749 section 5.1. {@link authorizationCodeGrant} and all other grants
 * resolve to one. `JSON.stringify` shows all of it, so keep it out of logs.
 */
export interface TokenSet {
  /** Secret. */
  readonly accessToken: string
  /** `Bearer`, `DPoP`, or what else the grant lets be. */
  readonly tokenType: string
  /** Milliseconds since the epoch, counted from before the request was sent. */
  readonly expiresAt?: number
  /** Secret. Absent where none was given: on a refresh, the old one stays good then. */
  readonly refreshToken?: string
  /** As answered; `undefined` when the answer says nothing about scopes. */
  readonly scopes?: readonly string[]
  /** As it was received. */
  readonly idToken?: string
  /** Claims of the ID token, whose signature was verified. */
  readonly claims?: Claims
  /** What `accessToken` is, where it was exchanged for another token. RFC 8693 section 3. */
  readonly issuedTokenType?: string
  /** The key that a `DPoP` token, and what comes with it, is of no use without. Secret. RFC 9449. */
  readonly dpopKey?: DPoPKey
  /** What else of the answer the provider's `tokenClaims` ask to keep. */
  readonly details?: Claims
}

const NOT_BOUND =
  'a Bearer token came, and not one that is bound to the key. Does this client have DPoP turned on there?'
const SPELLED: Readonly<Record<string, string>> = { bearer: 'Bearer', dpop: 'DPoP' }

type Answer = TokenEndpointResponse & TokenEndpointResponseHelpers

const MAXIMUM_SUBJECT_LENGTH = 255
// Longer ones do not fit into a request header of common servers.
export const MAXIMUM_TOKEN_LENGTH = 16_384
const LONGEST_LIFETIME = 10 * 365 * 86_400

/** Whether a token can be put into a header as it is. RFC 6750 section 2.1. */
export function isWellFormedToken(token: unknown): token is string {
  if (typeof token !== 'string' || token === '' || token.length > MAXIMUM_TOKEN_LENGTH) return false
  // Not by a regular expression: the engine keeps the last text that one matched, for as long as there is no other.
  for (let index = 0; index < token.length; index++) {
    const code = token.charCodeAt(index)
    if (code < 0x21 || code > 0x7e) return false
  }
  return true
}

/** How the answer to a token request is judged. */
export interface TokenRequestOptions {
  /**
   * Whether an ID token was asked for; one that was not proves nothing and is dropped unread, and so is one where the provider
   * names no keys. Default `false`.
   */
  readonly acceptIdToken?: boolean
  /** Filled with what was answered, also when the answer is refused. */
  readonly exchange?: Exchange
  /** In lower case. Default: `bearer` alone, because nothing here could use others. With a key, `dpop` stands in for `bearer`. */
  readonly tokenTypes?: readonly string[]
  /** What the tokens are to be bound to. */
  readonly dpopKey?: DPoPKey | undefined
}

/**
 * Makes one token request and judges what came of it.
 *
 * @throws {ProviderFailure} or an error of this package that `request` threw
 */
export async function requestTokens(
  provider: Provider,
  request: (configuration: Configuration) => Promise<Answer>,
  { acceptIdToken = false, exchange = {}, tokenTypes = ['bearer'], dpopKey }: TokenRequestOptions = {},
): Promise<TokenSet> {
  // Without keys there is no telling a real ID token from an invented one: such are as if they had not been sent.
  const { jwks_uri } = await provider.metadata()
  const readIdToken = acceptIdToken && Boolean(jwks_uri)
  const sentAt = provider.clock()
  const { errors, normalizeTokenResponse, tokenClaims } = provider.options
  const normalize = (body: Record<string, unknown>) => {
    const { id_token, ...rest } = normalizeTokenResponse?.(body) ?? body
    const { error } = rest
    if (errors && typeof error === 'string' && Object.hasOwn(errors, error)) rest.error = errors[error]
    // How servers in some languages leave a member out.
    for (const name of ['refresh_token', 'scope', 'error']) if (rest[name] === null) delete rest[name]
    return readIdToken && id_token !== undefined && id_token !== null ? { ...rest, id_token } : rest
  }
  const accepted = dpopKey && tokenTypes.includes('bearer') ? ['dpop', ...tokenTypes] : tokenTypes
  let answer: Answer
  try {
    answer = await provenExchange(provider, dpopKey, Object.assign(exchange, { normalize }), request)
  } catch (error) {
    if (error instanceof OAuth2ClientError) throw error
    throw classify(exchange, error, problemIn(exchange, accepted) ?? claimIn(error))
  }
  const tokenType = answer.token_type.toLowerCase()
  // Whoever gets hold of such a token can use it, which is what the key was to prevent.
  const unbound = dpopKey && tokenType === 'bearer' ? NOT_BOUND : undefined
  // The library takes tokens also from an answer that has an error beside them.
  const contradictory = exchange.body?.error === undefined ? undefined : 'it has tokens and an error'
  const problem = contradictory ?? unbound ?? problemIn(exchange, accepted)
  if (problem) throw new ProviderFailure('unusable', exchange, undefined, problem)
  const lifetime =
    answer.expires_in === undefined ? undefined : Math.min(Math.floor(answer.expires_in), LONGEST_LIFETIME)
  const claims = answer.claims()
  if (claims) {
    const wrong = await problemOfIdToken(provider, answer, claims as Claims)
    if (wrong) throw new ProviderFailure('unusable', exchange, wrong.cause, wrong.problem)
  }
  const details = Object.entries(answer).filter(([name, value]) => tokenClaims?.includes(name) && value != null)
  return {
    accessToken: answer.access_token,
    tokenType: SPELLED[tokenType] ?? tokenType.toUpperCase(),
    ...(dpopKey && tokenType === 'dpop' ? { dpopKey } : {}),
    ...(lifetime === undefined ? {} : { expiresAt: sentAt + lifetime * 1000 }),
    ...(isWellFormedToken(answer.refresh_token) ? { refreshToken: answer.refresh_token } : {}),
    ...(answer.scope === undefined ? {} : { scopes: readScopes(answer.scope) }),
    ...(isWellFormedToken(answer.issued_token_type) ? { issuedTokenType: answer.issued_token_type } : {}),
    ...(answer.id_token && claims ? { idToken: answer.id_token, claims: claims as Claims } : {}),
    ...(details.length > 0 ? { details: Object.fromEntries(details) } : {}),
  }
}

/** Whether a claim names somebody. OpenID Connect Core section 2. */
export function isSubject(sub: unknown): sub is string {
  return typeof sub === 'string' && sub !== '' && sub.length <= MAXIMUM_SUBJECT_LENGTH
}

/** What is wrong with a JSON object that should hold tokens, in our words: theirs may hold anything. */
function problemIn({ status, body }: Exchange, tokenTypes: readonly string[]): string | undefined {
  if (status !== 200 || !body || body.error !== undefined) return undefined
  const { access_token, token_type, expires_in, refresh_token, scope } = body
  if (access_token === undefined) return 'it has no access_token'
  if (!isWellFormedToken(access_token)) return 'its access_token is none that fits into a header'
  if (token_type === undefined) return 'it has no token_type'
  if (!tokenTypes.includes(toText(token_type).toLowerCase())) return `its token_type is not ${tokenTypes.join(' or ')}`
  if (expires_in !== undefined && !(toNumber(expires_in) >= 0)) return 'its expires_in is no number'
  if (refresh_token === '' || !['string', 'undefined'].includes(typeof refresh_token))
    return 'its refresh_token is none'
  return scope === undefined || typeof scope === 'string' ? undefined : 'its scope is no string'
}

/** Which part of an ID token the protocol library does not accept. Its own texts name it, and hold nothing of the token. */
function claimIn(error: unknown): string | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    const name = /\b(?:JWT|ID Token) "([a-z_]{2,16})"/.exec(e.message)?.[1]
    if (name) return `the ${name} of its id_token is missing, or is not what was asked for`
  }
  return undefined
}

/** What OpenID Connect Core sections 2 and 3.1.3.7 ask for beyond what the protocol library looks at. */
async function problemOfIdToken(
  provider: Provider,
  { id_token, access_token }: Answer,
  claims: Claims,
): Promise<{ problem: string; cause?: unknown } | undefined> {
  const { sub, azp, iat } = claims
  const idToken = id_token as string
  if (idToken.length > MAXIMUM_TOKEN_LENGTH) return { problem: 'its id_token is too large' }
  try {
    // The token endpoint's TLS vouches for an ID token only as far as TLS ends where we think it does.
    await checkSignature(provider, idToken)
  } catch (cause) {
    const unavailable = cause instanceof ProviderUnavailableError
    return {
      problem: unavailable
        ? 'there are no keys to verify its id_token with'
        : 'its id_token is not signed by the provider',
      cause,
    }
  }
  if (!isSubject(sub)) return { problem: 'its id_token names nobody' }
  if (azp !== undefined && azp !== provider.clientId) return { problem: 'its id_token is for another client' }
  // By the machine's clock, which is the one that the library holds the other times against.
  if (!(toNumber(iat) <= Date.now() / 1000 + CLOCK_TOLERANCE)) return { problem: 'its id_token is from the future' }
  if (!(await isAboutToken(idToken, claims, access_token))) {
    return { problem: 'its id_token is about another access_token' }
  }
  if (provider.options.validIssuer && !isFromTenant(provider, keySetOf(provider).keys, claims, idToken)) {
    return { problem: 'its id_token is of another tenant' }
  }
  return undefined
}
