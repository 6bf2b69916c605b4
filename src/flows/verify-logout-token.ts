/** Logout tokens: the provider says that a session there has ended. OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6. */
import { LogoutTokenInvalidError } from '../errors.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { verifyJwt } from './verify-jwt.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * The claims of a logout token that was verified. At least one of `sub` and `sid` is there. {@link verifyLogoutToken}
 * resolves to them.
 */
export interface LogoutTokenClaims {
  /** The provider that says so. */
  readonly iss: string
  /** The clients that it is meant for. */
  readonly aud: string | readonly string[]
  /** Seconds since the epoch. When it was issued. */
  readonly iat: number
  /** Seconds since the epoch. When it expires. */
  readonly exp: number
  /** Names this token: whoever acts on it refuses another one of that name. */
  readonly jti: string
  /** Whose sessions ended: all of them, without `sid`. */
  readonly sub?: string
  /** The one session that ended, as ID tokens name it. */
  readonly sid?: string
  readonly [name: string]: unknown
}

/**
 * Verifies a logout token: signature, issuer, audience, times, and that it is about a logout. Whether it came before is for
 * the caller to know, by its `jti`.
 *
 * @param options.clockTolerance seconds that the provider's clock and ours may differ; default 60
 * @returns its claims
 * @throws {LogoutTokenInvalidError} with a `reason`
 * @throws {ProviderUnavailableError} when the provider's keys cannot be fetched
 * @example
 * ```ts
 * import { Provider, verifyLogoutToken } from 'fastify-oauth2client/flows'
 *
 * const provider = new Provider({ provider: { issuer: 'https://login.example.com' }, clientId: 'web' })
 *
 * async function whoseSession(logoutToken: string) {
 *   const { sub, sid } = await verifyLogoutToken(provider, logoutToken)
 *   return { sub, sid }
 * }
 * ```
 */
export async function verifyLogoutToken(
  provider: Provider,
  logoutToken: string,
  { clockTolerance = CLOCK_TOLERANCE }: { readonly clockTolerance?: number } = {},
): Promise<LogoutTokenClaims> {
  const claims = await verifyJwt(provider, logoutToken, {
    audience: [provider.clientId],
    required: ['iss', 'aud', 'iat', 'exp', 'jti', 'events'],
    // Many providers still leave it out, or call it a JWT like any other: what it is for is in "events" as well.
    typ: /^(application\/)?(logout\+)?jwt$/i,
    clockTolerance,
    invalid: (problem) => new LogoutTokenInvalidError(problem),
  })
  const { jti, sub, sid, events, nonce } = claims
  if (!isObject(events) || !Object.hasOwn(events, EVENT) || !isObject(events[EVENT])) {
    throw new LogoutTokenInvalidError('event')
  }
  // An ID token has one: it must not pass for a logout token.
  if (nonce !== undefined) throw new LogoutTokenInvalidError('nonce')
  if (!isName(jti)) throw new LogoutTokenInvalidError('malformed')
  if ((sub === undefined && sid === undefined) || (sid !== undefined && !isName(sid))) {
    throw new LogoutTokenInvalidError('session')
  }
  return claims as LogoutTokenClaims
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}
