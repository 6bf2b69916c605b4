/**
 * RSA keys for providers. Making one takes half a second, and nearly every test starts a provider: so a run makes a dozen, and
 * every provider takes the next. No two of a dozen in a row are the same, so that somebody else's key stays somebody else's.
 */
import { exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'

const VARIABLE = 'TEST_SIGNING_KEYS'
const COUNT = 12
let ring: readonly JWK[] | undefined
let next = 0

/** Vitest's global set-up. */
export default async function setup(): Promise<void> {
  process.env[VARIABLE] ??= JSON.stringify(await Promise.all(Array.from({ length: COUNT }, () => makeKey('RS256'))))
}

/** A private key, and its public half as it is published. */
export async function nextSigningKey(algorithm: string): Promise<{ privateKey: CryptoKey; publicJwk: JWK }> {
  ring ??= JSON.parse(process.env[VARIABLE] ?? '[]') as JWK[]
  const jwk = (algorithm === 'RS256' && ring[next++ % ring.length]) || (await makeKey(algorithm))
  const { d, p, q, dp, dq, qi, ...publicJwk } = jwk as JWK & { kty: 'RSA' }
  return { privateKey: (await importJWK(jwk, algorithm)) as CryptoKey, publicJwk: publicJwk as JWK }
}

async function makeKey(algorithm: string): Promise<JWK> {
  return exportJWK((await generateKeyPair(algorithm, { extractable: true })).privateKey)
}
