/**
 * Flattened JWE with a shared key (`dir`, A256GCM; RFC 7516 sections 5.1 and 5.2, RFC 7518 sections 4.5 and 5.3) by OpenSSL: any
 * library of JOSE opens it. Through WebCrypto, as `jose` does it, the same takes ten times as long, and a sign-in takes five.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16

/** The parts of a flattened JWE, encoded, without the associated data that both sides know. */
export interface Jwe {
  readonly header: string
  readonly iv: string
  readonly ciphertext: string
  readonly tag: string
}

/**
 * @param header with `alg` and `enc`, which stay readable like the rest of it
 * @param aad associated data, which is not part of the result
 */
export function encrypt(key: KeyObject, header: object, aad: string, plaintext: string): Jwe {
  const encoded = encode(JSON.stringify(header))
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(authenticated(encoded, aad))
  const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()])
  return {
    header: encoded,
    iv: iv.toString('base64url'),
    ciphertext: ciphertext.toString('base64url'),
    tag: cipher.getAuthTag().toString('base64url'),
  }
}

/** @throws whenever it is not, to the last bit, what `encrypt` gave for that key and that associated data */
export function decrypt(key: KeyObject, { header, iv, ciphertext, tag }: Jwe, aad: string): string {
  const decipher = createDecipheriv(ALGORITHM, key, decode(iv, IV_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(authenticated(header, aad))
  decipher.setAuthTag(decode(tag, TAG_BYTES))
  const plaintext = decipher.update(decode(ciphertext))
  decipher.final()
  return plaintext.toString()
}

function authenticated(header: string, aad: string): Buffer {
  return Buffer.from(`${header}.${encode(aad)}`)
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** Two texts may stand for the same bytes; only one of them is what was written. */
function decode(text: string, length?: number): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text || (length !== undefined && bytes.length !== length)) {
    throw new RangeError('not what was sealed')
  }
  return bytes
}
