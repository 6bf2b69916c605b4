/**
 * Seals what leaves the process: flow cookies, tickets, stored credentials. AES-256-GCM through `jose`'s flattened JWE,
 * because its compact form has no room for associated data, and without that one row could be copied onto another.
 */
import { createHash, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { FlattenedEncrypt, flattenedDecrypt } from 'jose'
import { OptionError } from '../errors.js'

/** What a sealed value is for. Each purpose has a key of its own, so that no value can stand in for another kind. */
export type Purpose = 'flow' | 'ticket' | 'outcome' | 'pending' | 'credentials' | 'xsrf'

/** Why a sealed value could not be opened. */
export class UnsealError extends Error {
  readonly reason: 'unknown key' | 'damaged'

  constructor(reason: 'unknown key' | 'damaged') {
    super(`sealed value: ${reason}`)
    this.reason = reason
  }
}

const FORMAT = 'fastify-oauth2client/1'
const MINIMUM_LENGTH = 32

interface RingKey {
  readonly kid: string
  readonly material: Buffer
}

/** Several keys: the first one seals, all of them open. */
export class KeyRing {
  readonly #keys: readonly RingKey[]
  readonly #derived = new Map<string, KeyObject>()

  /** @param keys at least one; each at least 32 characters or bytes of randomness */
  constructor(keys: readonly (string | Uint8Array)[]) {
    this.#keys = keys.map((key) => {
      const material = Buffer.from(key as string)
      if (material.length < MINIMUM_LENGTH) {
        throw new OptionError('encryptionKeys', `a key needs at least ${MINIMUM_LENGTH} random characters or bytes.`)
      }
      return {
        kid: createHash('sha256').update(`${FORMAT} kid `).update(material).digest('base64url').slice(0, 8),
        material,
      }
    })
    if (this.#keys.length === 0) throw new OptionError('encryptionKeys', 'needs at least one key.')
  }

  /**
   * Seals `plaintext` for one purpose and one place.
   *
   * @param context where the value belongs; opening it elsewhere fails
   * @param header members that stay readable (and authenticated) without the key
   */
  async seal(purpose: Purpose, context: readonly string[], plaintext: string, header = {}): Promise<string> {
    const key = this.#keys[0] as RingKey
    const jwe = await new FlattenedEncrypt(Buffer.from(plaintext))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: key.kid, ...header })
      .setAdditionalAuthenticatedData(associatedData(purpose, context))
      .encrypt(this.#key(key, purpose))
    return `${jwe.protected}.${jwe.iv}.${jwe.ciphertext}.${jwe.tag}`
  }

  /** @throws {UnsealError} */
  async open(purpose: Purpose, context: readonly string[], sealed: string): Promise<string> {
    const [header, iv, ciphertext, tag, ...rest] = sealed.split('.')
    if (!header || !iv || ciphertext === undefined || !tag || rest.length > 0) throw new UnsealError('damaged')
    const kid = readHeader(sealed)?.kid
    if (typeof kid !== 'string') throw new UnsealError('damaged')
    const key = this.#keys.find((candidate) => candidate.kid === kid)
    if (!key) throw new UnsealError('unknown key')
    try {
      const aad = Buffer.from(associatedData(purpose, context)).toString('base64url')
      const { plaintext } = await flattenedDecrypt(
        { protected: header, iv, ciphertext, tag, aad },
        this.#key(key, purpose),
        { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] },
      )
      return Buffer.from(plaintext).toString()
    } catch {
      throw new UnsealError('damaged')
    }
  }

  /** The keys for message authentication, newest first: the first one signs, all of them verify. */
  macKeys(purpose: Purpose): KeyObject[] {
    return this.#keys.map((key) => this.#key(key, purpose))
  }

  #key({ kid, material }: RingKey, purpose: Purpose): KeyObject {
    const id = `${kid} ${purpose}`
    let key = this.#derived.get(id)
    if (!key) {
      key = createSecretKey(Buffer.from(hkdfSync('sha256', material, '', `${FORMAT} ${purpose}`, 32)))
      this.#derived.set(id, key)
    }
    return key
  }
}

/** The readable header of a sealed value, or `undefined` when there is none. Nothing in it is proven yet. */
export function readHeader(sealed: string): Record<string, unknown> | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(sealed.slice(0, sealed.indexOf('.')), 'base64url').toString())
    return typeof header === 'object' && header !== null ? (header as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

// Length prefixes make the list unambiguous: ('ab', 'c') and ('a', 'bc') differ.
function associatedData(purpose: Purpose, context: readonly string[]): Uint8Array {
  const parts = [FORMAT, purpose, ...context].map((part) => `${Buffer.byteLength(part)}:${part}`)
  return Buffer.from(parts.join(','))
}
