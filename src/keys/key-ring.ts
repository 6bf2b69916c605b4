/**
 * Seals what leaves the process: flow cookies, tickets, stored credentials. A flattened JWE, because the compact form has no room
 * for associated data, and without that one row could be copied onto another.
 */
import { createHash, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { CredentialsUnreadableError, OptionError, type UnreadableReason } from '../errors.js'
import { decrypt, encrypt } from './jwe.js'

/** What a sealed value is for. Each purpose has a key of its own, so that no value can stand in for another kind. */
export type Purpose =
  | 'flow'
  | 'ticket'
  | 'outcome'
  | 'logout'
  | 'pending'
  | 'form'
  | 'credentials'
  | 'revocation'
  | 'xsrf'

/** Why a sealed value could not be opened. */
export class UnsealError extends Error {
  readonly reason: UnreadableReason
  /** The id of the key that it was sealed with, as far as it says so. */
  readonly kid: string | undefined

  constructor(reason: UnreadableReason, kid?: string) {
    super(`sealed value: ${reason}`)
    this.reason = reason
    this.kid = kid
  }
}

const FORMAT = 'fastify-oauth2client/1'
const MINIMUM_LENGTH = 32
/** How values are sealed. A later way says so in the header, as `v`. */
const VERSION = 1
const SEALED = { alg: 'dir', enc: 'A256GCM' }
const KEY_ID = /^[\w-]{8}$/
/** Header, initialization vector, ciphertext, tag. */
const PARTS = 4

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
        const problem = material.length === 0 ? 'is empty. Is an environment variable not set? A' : 'a'
        throw new OptionError(
          'encryptionKeys',
          `${problem} key needs at least ${MINIMUM_LENGTH} random characters or bytes. Make one with: npx fastify-oauth2client keygen`,
        )
      }
      return { kid: keyId(material), material }
    })
    if (this.#keys.length === 0) throw new OptionError('encryptionKeys', 'needs at least one key.')
  }

  /** The ids of the keys. The first one's is in whatever is sealed from now on. */
  get kids(): readonly [string, ...string[]] {
    return this.#keys.map(({ kid }) => kid) as [string, ...string[]]
  }

  /**
   * Seals `plaintext` for one purpose and one place.
   *
   * @param context where the value belongs; opening it elsewhere fails
   * @param header members that stay readable (and authenticated) without the key
   */
  seal(purpose: Purpose, context: readonly string[], plaintext: string, header = {}): string {
    const key = this.#keys[0] as RingKey
    const claims = { ...SEALED, kid: key.kid, ...header }
    const jwe = encrypt(
      this.#key(key, purpose),
      purpose === 'credentials' ? withPlace(claims, purpose, context) : claims,
      associatedData(purpose, context),
      plaintext,
    )
    return `${jwe.header}.${jwe.iv}.${jwe.ciphertext}.${jwe.tag}`
  }

  /** @throws {UnsealError} */
  open(purpose: Purpose, context: readonly string[], sealed: string): string {
    const [header, iv, ciphertext, tag, ...rest] = sealed.split('.')
    const claims = parseHeader(header)
    if (isOurs(claims) && header && iv && ciphertext !== undefined && tag && rest.length === 0) {
      const key = this.#keys.find(({ kid }) => kid === claims.kid)
      try {
        // The header and the place are authenticated with the rest: what opens needs no look at what they say.
        if (key)
          return decrypt(this.#key(key, purpose), { header, iv, ciphertext, tag }, associatedData(purpose, context))
      } catch {}
    }
    throw this.#whyNot(purpose, context, sealed)
  }

  #whyNot(purpose: Purpose, context: readonly string[], sealed: string): UnsealError {
    const claims = readHeader(sealed)
    const kid = isKeyId(claims?.kid) ? claims.kid : undefined
    if (isLater(claims)) return new UnsealError('newer_version', kid)
    if (!isOurs(claims)) return new UnsealError('damaged')
    if (sealed.split('.').length !== PARTS) return new UnsealError('damaged', kid)
    // Before the key is looked for: a key that comes back would not make this the right place.
    if (claims.place !== undefined && claims.place !== digestOf(purpose, context))
      return new UnsealError('misplaced', kid)
    return new UnsealError(this.#keys.some((key) => key.kid === kid) ? 'damaged' : 'unknown_key', kid)
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

/** What a key is called in the header of what it sealed (`kid`). It says nothing about the key. */
export function keyId(key: string | Uint8Array): string {
  return createHash('sha256').update(`${FORMAT} kid `).update(key).digest('base64url').slice(0, 8)
}

/**
 * The readable header of a sealed value, or `undefined` when there is none or it was damaged. Nothing in it is proven yet:
 * only opening the value does that.
 */
export function readHeader(sealed: string): Header | undefined {
  const header = parseHeader(sealed.split('.', 1)[0])
  if (!header) return undefined
  const { sum, ...claims } = header
  // Values from before there were places have no checksum either.
  const intact = sum === undefined ? claims.place === undefined : sum === checksum(claims)
  return intact ? claims : undefined
}

type Header = Record<string, unknown>

function parseHeader(encoded: string | undefined): Header | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(encoded as string, 'base64url').toString())
    return typeof header === 'object' && header !== null ? (header as Header) : undefined
  } catch {
    return undefined
  }
}

function isLater(header: Header | undefined): boolean {
  return typeof header?.v === 'number' && header.v > VERSION
}

/** Whether it was sealed in the way that values are sealed here. */
function isOurs(header: Header | undefined): header is Header & { kid: string } {
  return isKeyId(header?.kid) && header.alg === SEALED.alg && header.enc === SEALED.enc && !isLater(header)
}

/** Whether it has the form of a key's id. Whatever else somebody wrote in its place is not worth repeating. */
export function isKeyId(value: unknown): value is string {
  return typeof value === 'string' && KEY_ID.test(value)
}

/** The id of the key that something was sealed with, as far as it says so. */
export function kidOf(sealed: string): string | undefined {
  const kid = readHeader(sealed)?.kid
  return isKeyId(kid) ? kid : undefined
}

/** What a store's user gets when a value of it could not be opened. */
export function unreadable(cause: unknown): CredentialsUnreadableError {
  if (!(cause instanceof UnsealError)) return new CredentialsUnreadableError('damaged', { cause })
  const { reason, kid } = cause
  return new CredentialsUnreadableError(reason, { cause, kid })
}

/**
 * Where a value belongs, written where it can be read without the key: what was copied onto another place is told apart
 * from what was damaged, which authentication alone cannot do. The checksum tells an accident in the header from another
 * key, place or client. Both are for the message only; what is believed is authenticated.
 */
function withPlace<T extends object>(claims: T, purpose: Purpose, context: readonly string[]) {
  const placed = { ...claims, place: digestOf(purpose, context) }
  return { ...placed, sum: checksum(placed) }
}

function digestOf(purpose: Purpose, context: readonly string[]): string {
  return createHash('sha256').update(associatedData(purpose, context)).digest('base64url').slice(0, 16)
}

function checksum(claims: object): string {
  return createHash('sha256').update(JSON.stringify(claims)).digest('base64url').slice(0, 8)
}

// Length prefixes make the list unambiguous: ('ab', 'c') and ('a', 'bc') differ.
function associatedData(purpose: Purpose, context: readonly string[]): string {
  return [FORMAT, purpose, ...context].map((part) => `${Buffer.byteLength(part)}:${part}`).join(',')
}
