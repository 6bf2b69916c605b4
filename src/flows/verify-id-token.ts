/** ID tokens from elsewhere: a mobile app, a button of the provider's, another service. OpenID Connect Core section 3.1.3.7. */
import { IdTokenInvalidError } from '../errors.js'
import { isRecent } from '../provider/authentication.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { PLAIN, verifyJwt } from './verify-jwt.js'

/** The claims of an ID token that was verified. OpenID Connect Core section 2. {@link verifyIdToken} resolves to them. */
export interface IdTokenClaims {
  /** The provider that issued it. */
  readonly iss: string
  /** Who signed in; stable at this issuer, and never reassigned. */
  readonly sub: string
  /** The clients that it was issued to. */
  readonly aud: string | readonly string[]
  /** Seconds since the epoch. When it expires. */
  readonly exp: number
  /** Seconds since the epoch. When it was issued. */
  readonly iat: number
  readonly [name: string]: unknown
}

/** What an ID token has to say. For {@link verifyIdToken}. */
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
  const audiences = typeof audience === 'string' ? [audience] : [...audience]
  const claims = await verifyJwt(provider, idToken, {
    audience: audiences,
    required: ['iss', 'sub', 'aud', 'exp', 'iat'],
    typ: PLAIN,
    clockTolerance,
    invalid: (problem) => new IdTokenInvalidError(problem),
  })
  const { aud, azp, auth_time: authenticatedAt } = claims
  // Another party of ours may have asked for it; of several audiences, one of ours has to be the one that did.
  const party = azp ?? (Array.isArray(aud) && aud.length > 1 ? undefined : audiences[0])
  if (!audiences.includes(party as string)) throw new IdTokenInvalidError('audience')
  if (nonce !== undefined && claims.nonce !== nonce) throw new IdTokenInvalidError('nonce')
  if (!isRecent(authenticatedAt, maxAge, provider.clock(), clockTolerance)) throw new IdTokenInvalidError('auth_time')
  return claims as IdTokenClaims
}
