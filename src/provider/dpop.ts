/** Proof of possession: tokens that are of no use to whoever does not have the key that they were issued for. RFC 9449. */

import { createHash, randomUUID } from 'node:crypto'
import type { JWK } from 'jose'
import { BoundedMap } from '../bounded-map.js'
import { OptionError, ProviderMetadataError } from '../errors.js'
import { jose } from './libraries.js'

/** What proofs can be signed with, the preferred one first. A key is made for each authorization, so none is slow to make. */
const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'] as const

/** What proofs are signed with. RFC 7518 section 3.4, RFC 8037, RFC 9864. See {@link DPoPOption}. */
export type DPoPAlgorithm = (typeof ALGORITHMS)[number]

/**
 * The option `dpop`: whether tokens are bound to keys, and what those sign with. `true` takes the first algorithm of
 * ours that the provider lists. RFC 9449.
 *
 * @example
 * ```ts
 * import { type DPoPOption, Provider } from 'fastify-oauth2client/flows'
 *
 * const dpop: DPoPOption = { algorithm: 'Ed25519' }
 * const provider = new Provider({ provider: { issuer: 'https://login.example.com' }, clientId: 'web', dpop })
 * ```
 */
export type DPoPOption = boolean | { readonly algorithm?: DPoPAlgorithm }

/**
 * A private key as a JWK (RFC 7517), with the algorithm that it signs with: plain JSON, and as secret as a refresh
 * token. Keep it with the tokens, as {@link Credentials} do, and hand it to {@link refreshTokenGrant}.
 */
export interface DPoPKey {
  /** Key type: `EC` or `OKP`. */
  readonly kty: string
  /** Curve, such as `P-256`. */
  readonly crv: string
  /** Public. */
  readonly x: string
  /** Public; `EC` keys have it. */
  readonly y?: string
  /** The private part. Secret. */
  readonly d: string
  /** What proofs are signed with: a {@link DPoPAlgorithm}. */
  readonly alg: string
}

/**
 * The request that a proof is for.
 *
 * @example
 * ```ts
 * import type { AccessToken, DPoPProofRequest } from 'fastify-oauth2client'
 *
 * async function headersFor(token: AccessToken, request: DPoPProofRequest): Promise<Headers> {
 *   const headers = new Headers({ authorization: `${token.tokenType} ${token.token}` })
 *   if (token.dpopProof) headers.set('dpop', await token.dpopProof(request))
 *   return headers
 * }
 * ```
 */
export interface DPoPProofRequest {
  /** Where the request goes. Query and fragment are no part of the proof. */
  readonly url: string | URL
  /** Default `GET`. */
  readonly method?: string
  /** Default: what the server gave last, if anything. RFC 9449 section 8. */
  readonly nonce?: string | undefined
}

/** Servers that are known by a nonce at least; each is one short text. */
const KEPT_NONCES = 500
/** RFC 9449 section 8.1 says of which characters, and nobody needs more of them. */
const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,1024}$/

/** Makes keys and proofs for one registration, and remembers the nonces of the servers that ask for some. */
export class DPoP {
  readonly #option: { readonly algorithm?: DPoPAlgorithm } | undefined
  readonly #clock: () => number
  /** By use and origin: an API may be on the host of the token endpoint, and have nonces of its own. */
  readonly #nonces = new BoundedMap<string, string>(KEPT_NONCES)

  /** @throws {OptionError} */
  constructor(option: DPoPOption | undefined, clock: () => number) {
    const settings: unknown = option === true ? {} : option || undefined
    if (settings !== undefined && (typeof settings !== 'object' || settings === null)) {
      throw new OptionError('dpop', 'must be true, false or { algorithm }.')
    }
    const { algorithm } = (settings ?? {}) as { algorithm?: DPoPAlgorithm }
    if (algorithm !== undefined && !ALGORITHMS.includes(algorithm)) {
      throw new OptionError('dpop.algorithm', `must be one of ${ALGORITHMS.map((name) => `"${name}"`).join(', ')}.`)
    }
    this.#option = settings as { algorithm?: DPoPAlgorithm } | undefined
    this.#clock = clock
  }

  /**
   * A new key, where tokens are to be bound to one.
   *
   * @param supported `dpop_signing_alg_values_supported` of the provider's metadata
   * @throws {ProviderMetadataError} when the provider takes no proofs that we can sign
   */
  async newKey(supported: unknown): Promise<DPoPKey | undefined> {
    if (!this.#option) return undefined
    const wanted = this.#option.algorithm === undefined ? ALGORITHMS : [this.#option.algorithm]
    // A server that names none may do it all the same; whether it does, its answer says.
    const alg = Array.isArray(supported) ? wanted.find((name) => supported.includes(name)) : wanted[0]
    if (alg === undefined) {
      throw new ProviderMetadataError(
        `dpop_signing_alg_values_supported has none of ${wanted.join(', ')}, which the option dpop signs with. Leave out its "algorithm", or the option.`,
      )
    }
    const { exportJWK, generateKeyPair } = await jose()
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    const { kty, crv, x, y, d } = await exportJWK(privateKey)
    return { kty, crv, x, ...(y === undefined ? {} : { y }), d, alg } as DPoPKey
  }

  /** One proof, good for one request. RFC 9449 section 4.2; with an access token, section 7. */
  async proof(key: DPoPKey, { url, method = 'GET', nonce }: DPoPProofRequest, accessToken?: string): Promise<string> {
    const { SignJWT } = await jose()
    const { d: _, alg, ...jwk } = key
    const { origin, pathname } = new URL(url)
    const known = nonce ?? this.#nonces.get(`${accessToken === undefined ? 'token' : 'resource'} ${origin}`)
    const proof = new SignJWT({
      jti: randomUUID(),
      htm: method,
      htu: origin + pathname,
      iat: Math.floor(this.#clock() / 1000),
      ...(known === undefined ? {} : { nonce: known }),
      ...(accessToken === undefined ? {} : { ath: digest(accessToken) }),
    })
    return proof.setProtectedHeader({ alg, typ: 'dpop+jwt', jwk: jwk as JWK }).sign(key as JWK)
  }

  /** Remembers what a server wants to see in the next proof. @returns it, if the answer held one that can be sent */
  noteNonce(use: 'token' | 'resource', url: string | URL, headers: Headers): string | undefined {
    const nonce = headers.get('dpop-nonce')
    if (nonce === null || !NONCE.test(nonce)) return undefined
    this.#nonces.set(`${use} ${new URL(url).origin}`, nonce)
    return nonce
  }
}

/** What an authorization request names a key by. RFC 9449 section 10. */
export async function thumbprintOf(key: DPoPKey): Promise<string> {
  return (await jose()).calculateJwkThumbprint(key as JWK)
}

/** Whether a value from outside is a key that proofs could be signed with. */
export function isDPoPKey(value: unknown): value is DPoPKey {
  const key = value as Partial<DPoPKey> | null
  return (
    typeof key === 'object' &&
    [key?.kty, key?.crv, key?.x, key?.d].every((member) => typeof member === 'string') &&
    ALGORITHMS.includes(key?.alg as DPoPAlgorithm)
  )
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}
