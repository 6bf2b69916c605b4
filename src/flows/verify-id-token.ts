/** ID tokens from elsewhere: a mobile app, a button of the provider's, another service. OpenID Connect Core section 3.1.3.7. */
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import { IdTokenInvalidError, type IdTokenProblem, OAuth2ClientError } from '../errors.js'
import { isFromTenant, TENANT } from '../provider/issuers.js'
import { keySetOf } from '../provider/key-set.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { isSubject, MAXIMUM_TOKEN_LENGTH } from './token-set.js'

/** Signatures that only the provider can make. With others (`HS256`, `none`) everybody could, or who knows our secret. */
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** OpenID Connect Core section 2: what is signed with unless something else was agreed. */
const AGREED = ['RS256']

/** The claims of an ID token that was verified. OpenID Connect Core section 2. */
export interface IdTokenClaims {
  readonly iss: string
  /** Who signed in; stable at this issuer, and never reassigned. */
  readonly sub: string
  readonly aud: string | readonly string[]
  /** Seconds since the epoch. */
  readonly exp: number
  /** Seconds since the epoch. */
  readonly iat: number
  readonly [name: string]: unknown
}

/** What an ID token has to say. */
export interface VerifyIdTokenOptions {
  /**
   * Client ids that the token may have been issued to, and by which it may have been asked for (`azp`). Google's for Android
   * apps have the web client's id as `aud` and the Android client's as `azp`: both have to be here. Default: the provider's.
   */
  readonly audience?: string | readonly string[]
  /** The nonce that it was asked for with. Default: not looked at. */
  readonly nonce?: string
  /** Seconds since the person last proved who they are. Default: not looked at. */
  readonly maxAge?: number
  /** Seconds that the provider's clock and ours may differ. Default 60. */
  readonly clockTolerance?: number
}

/**
 * Verifies an ID token that did not come from the provider's token endpoint: signature, issuer, audience, times. It says who
 * signed in, not that whoever sent it is that person: use `nonce` where the flow has one.
 *
 * @returns its claims
 * @throws {IdTokenInvalidError} with a `reason`
 * @throws {ProviderUnavailableError} when the provider's keys cannot be fetched
 * @example
 * ```ts
 * import { Provider, verifyIdToken } from 'fastify-oauth2client/flows'
 * import { google } from 'fastify-oauth2client/providers'
 *
 * const provider = new Provider({ provider: google(), clientId: 'web.apps.googleusercontent.com' })
 *
 * async function whoSentThis(idToken: string) {
 *   const { sub, email } = await verifyIdToken(provider, idToken)
 *   return { sub, email }
 * }
 * ```
 */
export async function verifyIdToken(
  provider: Provider,
  idToken: string,
  options: VerifyIdTokenOptions = {},
): Promise<IdTokenClaims> {
  const { audience = provider.clientId, nonce, maxAge, clockTolerance = CLOCK_TOLERANCE } = options
  if (typeof idToken !== 'string') throw new IdTokenInvalidError('malformed')
  // Before anything is decoded.
  if (idToken.length > MAXIMUM_TOKEN_LENGTH) throw new IdTokenInvalidError('too_large')
  const { validIssuer, issuerAliases: aliases = [] } = provider.options
  const { issuer, id_token_signing_alg_values_supported: supported } = await provider.metadata()
  const payload = decode(idToken)
  const algorithms = ASYMMETRIC.filter((name) => (Array.isArray(supported) ? supported : AGREED).includes(name))
  const audiences = typeof audience === 'string' ? [audience] : [...audience]
  const now = provider.clock()
  const claims = await verify(provider, idToken, {
    algorithms,
    audience: audiences,
    issuer: [tenantIssuer(issuer, payload), ...aliases],
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
    currentDate: new Date(now),
    clockTolerance,
  })
  const { iss = '', sub, aud, azp, iat, auth_time: authenticatedAt } = claims
  const latest = now / 1000 + clockTolerance
  // The template is the name of no tenant, and where there are several, the signature alone proves none of them.
  const foreign = validIssuer && !isFromTenant(provider, keySetOf(provider).keys, claims, idToken)
  if (iss.includes(TENANT) || (foreign && !aliases.includes(iss))) throw new IdTokenInvalidError('issuer')
  if (!isSubject(sub)) throw new IdTokenInvalidError('subject')
  // Another party of ours may have asked for it; of several audiences, one of ours has to be the one that did.
  const party = azp ?? (Array.isArray(aud) && aud.length > 1 ? undefined : audiences[0])
  if (!audiences.includes(party as string)) throw new IdTokenInvalidError('audience')
  if (Number(iat) > latest) throw new IdTokenInvalidError('not_yet_valid')
  if (nonce !== undefined && claims.nonce !== nonce) throw new IdTokenInvalidError('nonce')
  if (maxAge !== undefined) {
    const elapsed = now / 1000 - (typeof authenticatedAt === 'number' ? authenticatedAt : Number.NEGATIVE_INFINITY)
    if (!(elapsed <= maxAge + clockTolerance && elapsed >= -clockTolerance)) throw new IdTokenInvalidError('auth_time')
  }
  return claims as IdTokenClaims
}

function decode(idToken: string): JWTPayload {
  try {
    const { typ } = decodeProtectedHeader(idToken)
    // Other kinds of JWT that a provider signs must not pass for this one. RFC 8725 section 3.11.
    if (typ !== undefined && !/^(application\/)?jwt$/i.test(typ)) throw new TypeError('typ')
    return decodeJwt(idToken)
  } catch {
    throw new IdTokenInvalidError('malformed')
  }
}

/** Microsoft's issuer has a place for the tenant; whether the one in the token is welcome is looked at afterwards. */
function tenantIssuer(issuer: string, { tid }: JWTPayload): string {
  return typeof tid === 'string' && /^[\da-f-]{36}$/i.test(tid) ? issuer.replace(TENANT, tid) : issuer
}

async function verify(provider: Provider, idToken: string, options: JWTVerifyOptions): Promise<JWTPayload> {
  const keys = keySetOf(provider)
  try {
    return (await jwtVerify(idToken, (header, token) => keys.find(header, token), options)).payload
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyWithAny(error, idToken, options)
    throw problemOf(error)
  }
}

/** A token that does not name its key is checked with each that could be it. */
async function verifyWithAny(
  keys: errors.JWKSMultipleMatchingKeys,
  idToken: string,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  for await (const key of keys) {
    try {
      return (await jwtVerify(idToken, key, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw problemOf(error)
    }
  }
  throw new IdTokenInvalidError('signature')
}

/** The library's errors carry the claims; none of that goes along. */
function problemOf(error: unknown): unknown {
  if (error instanceof OAuth2ClientError) return error
  return new IdTokenInvalidError(reasonOf(error))
}

function reasonOf(error: unknown): IdTokenProblem {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason !== 'check_failed') return 'malformed'
    return ({ iss: 'issuer', aud: 'audience', nbf: 'not_yet_valid' } as const)[error.claim] ?? 'malformed'
  }
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_key'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm'
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return 'malformed'
  return 'signature'
}
