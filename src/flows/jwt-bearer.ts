/** The JWT bearer grant: a signed statement in exchange for tokens, with nobody at a browser. RFC 7523 section 2.1. */
import { randomUUID } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { OptionError } from '../errors.js'
import { jose, openidClient } from '../provider/libraries.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { type SigningKey, signerOf } from '../provider/signing-key.js'
import { dpopKeyFor } from './proven-exchange.js'
import { required, type TokenParams, tokenForm } from './token-params.js'
import { requestTokens, type TokenSet } from './token-set.js'

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const LONGEST_LIFETIME = 3_600

/** Claims that say who vouches for whom, to whom and for how long: options of their own set them. */
const PROTECTED_CLAIMS = ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti']

/** What the assertion says, and the key that proves it. RFC 7523 section 3. For {@link jwtBearerGrant}. */
export interface AssertionOptions {
  /** A private key that the server knows the public half of. */
  readonly key: SigningKey
  /** Which of its keys the server is to check with. Default: the JWK's `kid`, or none. */
  readonly keyId?: string
  /** Default: the JWK's `alg`, or what goes with the key: RS256, ES256, ES384, ES512, EdDSA. */
  readonly algorithm?: string
  /** `iss`. Default: the client id. */
  readonly issuer?: string
  /** `sub`: in whose name. Default: the issuer's own. `null` leaves it out, for servers that take it for delegation. */
  readonly subject?: string | null
  /** `aud`. Default: the token endpoint's URL. Some servers want `provider.issuer`. */
  readonly audience?: string
  /** Seconds, a whole number of at most 3,600. Default 300. */
  readonly lifetime?: number
  /** Seconds by which our clock may be ahead of the server's: `iat` is set back so far. Default 60, or half the lifetime. */
  readonly clockTolerance?: number
  /** Further claims, such as `scope` for Google. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/**
 * What to ask for, and with which assertion: one that is signed here, or one that was signed elsewhere. For
 * {@link jwtBearerGrant}.
 */
export type JwtBearerOptions = Omit<TokenParams, 'audience'> & (AssertionOptions | { readonly assertion: string })

/**
 * Tokens for a service account, or in the name of a person, in exchange for a signed JWT.
 *
 * @throws {OptionError} when the key or the claims cannot be used
 * @throws {ProviderFailure} of kind `invalid_grant` when the server does not accept the assertion
 * @example
 * ```ts
 * import { jwtBearerGrant, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function asRobot(provider: Provider) {
 *   return jwtBearerGrant(provider, {
 *     key: process.env.ROBOT_KEY ?? '',
 *     keyId: 'robot-2025',
 *     subject: 'robot@example.com',
 *     scopes: ['files.read'],
 *   })
 * }
 * ```
 */
export async function jwtBearerGrant(provider: Provider, options: JwtBearerOptions): Promise<TokenSet> {
  const assertion =
    'assertion' in options
      ? required('assertion', options.assertion)
      : await sign(provider, options, (await provider.metadata()).token_endpoint)
  // The assertion's audience is no field of the form.
  const form = tokenForm({ ...options, audience: [] }, { assertion })
  const client = await openidClient()
  return requestTokens(provider, (configuration) => client.genericGrantRequest(configuration, GRANT_TYPE, form), {
    acceptIdToken: options.scopes?.includes('openid') ?? false,
    dpopKey: await dpopKeyFor(provider, options.dpopKey),
  })
}

async function sign(provider: Provider, options: AssertionOptions, endpoint = provider.issuer): Promise<string> {
  const { issuer = provider.clientId, subject = issuer, audience = endpoint, claims = {} } = options
  const { lifetime = 300, clockTolerance = Math.min(CLOCK_TOLERANCE, lifetime / 2) } = options
  for (const name of PROTECTED_CLAIMS) {
    if (Object.hasOwn(claims, name)) throw new OptionError('claims', `may not set "${name}".`)
  }
  if (!(Number.isInteger(lifetime) && lifetime > 0 && lifetime <= LONGEST_LIFETIME)) {
    throw new OptionError('lifetime', `must be a whole number of seconds, at most ${LONGEST_LIFETIME}.`)
  }
  if (!(clockTolerance >= 0 && clockTolerance < lifetime)) {
    throw new OptionError('clockTolerance', 'must be seconds, less than "lifetime".')
  }
  const { key, algorithm, keyId } = signerOf(options.key, options.algorithm)
  const kid = options.keyId ?? keyId
  const iat = Math.floor(provider.clock() / 1000 - clockTolerance)
  const payload: JWTPayload = {
    ...claims,
    iss: required('issuer', issuer),
    ...(subject === null ? {} : { sub: required('subject', subject) }),
    aud: required('audience', audience),
    iat,
    exp: iat + lifetime,
    jti: randomUUID(),
  }
  const { SignJWT } = await jose()
  return new SignJWT(payload).setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(kid ? { kid } : {}) }).sign(key)
}
