/** What a token endpoint gave, checked beyond what the protocol library checks. */
import { getJwksCache, type TokenEndpointResponse, type TokenEndpointResponseHelpers } from 'openid-client'
import type { Claims } from '../credentials/record.js'
import { OAuth2ClientError } from '../errors.js'
import { classify, ProviderFailure } from '../provider/failure.js'
import { type Exchange, observeExchange } from '../provider/http.js'
import { isFromTenant } from '../provider/issuers.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { readScopes } from '../provider/scopes.js'

/** One successful answer of a token endpoint. RFC 6749 section 5.1. */
export interface TokenSet {
  readonly accessToken: string
  readonly tokenType: string
  /** Milliseconds since the epoch, counted from before the request was sent. */
  readonly expiresAt?: number
  readonly refreshToken?: string
  /** As answered; `undefined` when the answer says nothing about scopes. */
  readonly scopes?: readonly string[]
  readonly idToken?: string
  /** Claims of the ID token, whose signature was verified. */
  readonly claims?: Claims
  /** What `accessToken` is, where it was exchanged for another token. RFC 8693 section 3. */
  readonly issuedTokenType?: string
  /** What else of the answer the provider's `tokenClaims` ask to keep. */
  readonly details?: Claims
}

type Answer = TokenEndpointResponse & TokenEndpointResponseHelpers

const MAXIMUM_SUBJECT_LENGTH = 255
// Longer ones do not fit into a request header of common servers.
export const MAXIMUM_TOKEN_LENGTH = 16_384
const LONGEST_LIFETIME = 10 * 365 * 86_400

/** Whether a token can be put into a header as it is. RFC 6750 section 2.1. */
export function isWellFormedToken(token: unknown): token is string {
  return typeof token === 'string' && token.length <= MAXIMUM_TOKEN_LENGTH && /^[\x21-\x7e]+$/.test(token)
}

/** How the answer to a token request is judged. */
export interface TokenRequestOptions {
  /** Whether an ID token was asked for; one that was not proves nothing and is dropped unread, and so is one where the provider names no keys. Default `false`. */
  readonly acceptIdToken?: boolean
  /** Filled with what was answered, also when the answer is refused. */
  readonly exchange?: Exchange
  /** In lower case. Default: `bearer` alone, because nothing here could use others. */
  readonly tokenTypes?: readonly string[]
}

/**
 * Makes one token request and judges what came of it.
 *
 * @throws {ProviderFailure} or an error of this package that `request` threw
 */
export async function requestTokens(
  provider: Provider,
  request: () => Promise<Answer>,
  { acceptIdToken = false, exchange = {}, tokenTypes = ['bearer'] }: TokenRequestOptions = {},
): Promise<TokenSet> {
  // Without keys there is no telling a real ID token from an invented one: such are as if they had not been sent.
  const configuration = await provider.configuration()
  const readIdToken = acceptIdToken && Boolean(configuration.serverMetadata().jwks_uri)
  const sentAt = provider.clock()
  const { errors, normalizeTokenResponse, tokenClaims, validIssuer } = provider.options
  const normalize = (body: Record<string, unknown>) => {
    const { id_token, ...rest } = normalizeTokenResponse?.(body) ?? body
    const { error } = rest
    if (errors && typeof error === 'string' && Object.hasOwn(errors, error)) rest.error = errors[error]
    return readIdToken && id_token !== undefined ? { ...rest, id_token } : rest
  }
  let answer: Answer
  try {
    answer = await observeExchange(Object.assign(exchange, { normalize }), request)
  } catch (error) {
    if (error instanceof OAuth2ClientError) throw error
    throw classify(exchange, error)
  }
  if (!isWellFormedToken(answer.access_token) || !tokenTypes.includes(answer.token_type.toLowerCase())) {
    throw new ProviderFailure('unusable', exchange, undefined)
  }
  const lifetime =
    answer.expires_in === undefined ? undefined : Math.min(Math.floor(answer.expires_in), LONGEST_LIFETIME)
  const claims = answer.claims()
  if (claims && !isAboutSomebody(claims, provider.clientId)) throw new ProviderFailure('unusable', exchange, undefined)
  if (validIssuer && claims) {
    const keys = getJwksCache(configuration)?.jwks.keys ?? []
    if (!isFromTenant(provider, keys, claims, answer.id_token as string))
      throw new ProviderFailure('unusable', exchange, undefined)
  }
  const details = Object.entries(answer).filter(([name, value]) => tokenClaims?.includes(name) && value != null)
  return {
    accessToken: answer.access_token,
    tokenType: answer.token_type.toLowerCase() === 'bearer' ? 'Bearer' : answer.token_type.toUpperCase(),
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

/** What OpenID Connect Core sections 2 and 3.1.3.7 ask for beyond what the protocol library looks at. */
function isAboutSomebody({ sub, azp, iat }: Claims, clientId: string): boolean {
  return (
    isSubject(sub) &&
    (azp === undefined || azp === clientId) &&
    // By the machine's clock, which is the one that the library holds the other times against.
    Number(iat) <= Date.now() / 1000 + CLOCK_TOLERANCE
  )
}
