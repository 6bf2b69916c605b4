/** What is the same for every JWT that a provider signs for us: signature, issuer, audience, times. RFC 7519, RFC 8725. */
import type { JWTPayload, JWTVerifyOptions } from 'jose'
import { type IdTokenProblem, OAuth2ClientError } from '../errors.js'
import { isFromTenant, TENANT } from '../provider/issuers.js'
import { toNumber } from '../provider/json.js'
import { keySetOf, signatureAlgorithms } from '../provider/key-set.js'
import { type Jose, jose } from '../provider/libraries.js'
import type { ProviderMetadata } from '../provider/preset.js'
import type { Provider } from '../provider/provider.js'
import { isSubject, MAXIMUM_TOKEN_LENGTH } from './token-set.js'

/** `typ` of a JWT that is of no other kind. */
export const PLAIN = /^(application\/)?jwt$/i

/** What a kind of token has to be. */
export interface JwtRules {
  readonly audience: readonly string[]
  readonly required: readonly string[]
  /** What `typ` may be, where there is one: other kinds of JWT must not pass for this one. RFC 8725 section 3.11. */
  readonly typ: RegExp
  /** Default: of those that the metadata lists for ID tokens, the ones that only the provider can sign with. */
  readonly algorithms?: (metadata: ProviderMetadata) => readonly string[]
  /** Seconds. */
  readonly clockTolerance: number
  /** Makes the error for what is wrong with it. */
  readonly invalid: (problem: IdTokenProblem) => OAuth2ClientError
}

/**
 * @throws what `invalid` made
 * @throws {ProviderUnavailableError} when the provider's keys cannot be fetched
 */
export async function verifyJwt(provider: Provider, token: string, rules: JwtRules): Promise<JWTPayload> {
  const { clockTolerance, invalid } = rules
  if (typeof token !== 'string') throw invalid('malformed')
  // Before anything is decoded.
  if (token.length > MAXIMUM_TOKEN_LENGTH) throw invalid('too_large')
  const { validIssuer, issuerAliases: aliases = [] } = provider.options
  const library = await jose()
  // What is no JWT is not worth a request.
  const payload = decode(library, token, rules)
  const metadata = await provider.metadata()
  const { issuer, id_token_signing_alg_values_supported: supported } = metadata
  const now = provider.clock()
  const options: JWTVerifyOptions = {
    algorithms: signatureAlgorithms(rules.algorithms?.(metadata) ?? supported),
    audience: [...rules.audience],
    issuer: [tenantIssuer(issuer, payload), ...aliases],
    requiredClaims: [...rules.required],
    currentDate: new Date(now),
    clockTolerance,
  }
  const verified = await keySetOf(provider)
    .verify('anybody', (key) => library.jwtVerify(token, key, options))
    .catch((error: unknown) => {
      throw problemOf(library, error, invalid)
    })
  const claims = verified.payload
  const { iss = '', sub, iat } = claims
  // The template is the name of no tenant, and where there are several, the signature alone proves none of them.
  const foreign = validIssuer && !isFromTenant(provider, keySetOf(provider).keys, claims, token)
  if (iss.includes(TENANT) || (foreign && !aliases.includes(iss))) throw invalid('issuer')
  if (sub !== undefined && !isSubject(sub)) throw invalid('subject')
  if (toNumber(iat) > now / 1000 + clockTolerance) throw invalid('not_yet_valid')
  return claims
}

function decode(
  { decodeJwt, decodeProtectedHeader }: typeof Jose,
  token: string,
  { typ: allowed, invalid }: JwtRules,
): JWTPayload {
  try {
    const { typ } = decodeProtectedHeader(token)
    if (typ !== undefined && !allowed.test(typ)) throw new TypeError('typ')
    return decodeJwt(token)
  } catch {
    throw invalid('malformed')
  }
}

/** Microsoft's issuer has a place for the tenant; whether the one in the token is welcome is looked at afterwards. */
function tenantIssuer(issuer: string, { tid }: JWTPayload): string {
  return typeof tid === 'string' && /^[\da-f-]{36}$/i.test(tid) ? issuer.replace(TENANT, tid) : issuer
}

/** The library's errors carry the claims; none of that goes along. */
function problemOf(library: typeof Jose, error: unknown, invalid: JwtRules['invalid']): unknown {
  return error instanceof OAuth2ClientError ? error : invalid(reasonOf(library, error))
}

function reasonOf({ errors }: typeof Jose, error: unknown): IdTokenProblem {
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
