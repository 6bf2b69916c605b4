import { randomBytes } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { IdTokenFault } from './fault-types.js'
import type { ServerTime } from './time.js'

/** Signs again what `oidc-provider` has signed: with claims that are wrong, with other keys, or by another clock. */

const DAY = 86_400
export const ELSEWHERE = 'https://another.example'

const CHANGES: Readonly<Record<IdTokenFault, (claims: JWTPayload) => JWTPayload>> = {
  expired_id_token: ({ iat = 0, exp = 0, ...claims }) => ({ ...claims, iat: iat - DAY, exp: exp - DAY }),
  replayed_id_token: (claims) => ({ ...claims, nonce: 'of-another-sign-in' }),
  wrong_issuer: (claims) => ({ ...claims, iss: ELSEWHERE }),
  wrong_audience: (claims) => ({ ...claims, aud: 'another-client' }),
  new_key: (claims) => claims,
  unknown_key: (claims) => claims,
}

interface Key {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
}

export class Signer {
  /** Besides the one that `oidc-provider` knows. */
  readonly newKeys: JWK[] = []
  readonly #key: Key
  readonly #time: ServerTime

  private constructor(key: Key, time: ServerTime) {
    this.#key = key
    this.#time = time
  }

  static async create(time: ServerTime): Promise<Signer> {
    return new Signer(await makeKey(), time)
  }

  async privateJwk(): Promise<JWK> {
    return jwkOf(this.#key, this.#key.privateKey)
  }

  /** The same logout token, by the server's clock. */
  async logoutToken(token: string): Promise<string> {
    return this.#time.offset === 0 ? token : sign(token, this.#time.told(decodeJwt(token)), this.#key)
  }

  /** The same ID token, with the fault, by the server's clock. */
  async idToken(token: string, fault?: unknown): Promise<string> {
    const change = Object.hasOwn(CHANGES, String(fault)) ? CHANGES[fault as IdTokenFault] : undefined
    if (change === undefined && this.#time.offset === 0) return token
    const key = fault === 'new_key' || fault === 'unknown_key' ? await makeKey() : this.#key
    if (fault === 'new_key') this.newKeys.push(await jwkOf(key, key.publicKey))
    const claims = this.#time.toldInIdToken(decodeJwt(token))
    return sign(token, change?.(claims) ?? claims, key)
  }
}

function sign(token: string, claims: JWTPayload, { kid, privateKey }: Key): Promise<string> {
  const { typ } = decodeProtectedHeader(token)
  const header = { alg: 'RS256', kid, ...(typ === undefined ? {} : { typ }) }
  return new SignJWT(claims).setProtectedHeader(header).sign(privateKey)
}

async function makeKey(): Promise<Key> {
  return { kid: randomBytes(8).toString('hex'), ...(await generateKeyPair('RS256', { extractable: true })) }
}

async function jwkOf({ kid }: Key, key: CryptoKey): Promise<JWK> {
  return { ...(await exportJWK(key)), alg: 'RS256', use: 'sig', kid }
}
