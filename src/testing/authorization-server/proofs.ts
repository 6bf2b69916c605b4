import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose'

/** What a protected resource checks of a token that is bound to a key. RFC 9449 sections 4.3, 7.1 and 9. */

/** Seconds. */
const CLOCKS_DIFFER = 60
const MAX_REMEMBERED = 10_000

export class ProofCheck {
  readonly #issuer: string
  readonly #requireNonce: boolean
  readonly #now: () => number
  readonly #seen = new Set<string>()
  #nonce = newNonce()

  constructor(issuer: string, requireNonce: boolean, now: () => number) {
    this.#issuer = issuer
    this.#requireNonce = requireNonce
    this.#now = now
  }

  /** What the next proof has to hold, if anything. */
  get nonce(): string | undefined {
    return this.#requireNonce ? this.#nonce : undefined
  }

  /** From now on another nonce is wanted. */
  renewNonce(): void {
    this.#nonce = newNonce()
  }

  /** @returns the error code that the request deserves, if any */
  async errorOf(req: IncomingMessage, path: string, token: string, thumbprint: string): Promise<string | undefined> {
    try {
      const { payload, protectedHeader } = await jwtVerify(String(req.headers.dpop), EmbeddedJWK, {
        typ: 'dpop+jwt',
        algorithms: ['ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'],
      })
      const { jwk } = protectedHeader
      if (!jwk || (await calculateJwkThumbprint(jwk)) !== thumbprint) return 'invalid_token'
      if (this.#requireNonce && payload.nonce !== this.#nonce) return 'use_dpop_nonce'
      const right =
        payload.htm === req.method &&
        payload.htu === this.#issuer + path &&
        payload.ath === createHash('sha256').update(token).digest('base64url') &&
        Math.abs(Number(payload.iat) - this.#now() / 1000) <= CLOCKS_DIFFER &&
        this.#isNew(payload.jti)
      return right ? undefined : 'invalid_dpop_proof'
    } catch {
      return 'invalid_dpop_proof'
    }
  }

  #isNew(jti: string | undefined): boolean {
    if (jti === undefined || this.#seen.has(jti)) return false
    if (this.#seen.size >= MAX_REMEMBERED) this.#seen.clear()
    this.#seen.add(jti)
    return true
  }
}

function newNonce(): string {
  return randomBytes(12).toString('base64url')
}
