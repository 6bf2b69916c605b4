/** Private keys in all the forms that people have them in. What signs for us: assertions, and requests. */
import { createPrivateKey, type JsonWebKeyInput, KeyObject } from 'node:crypto'
import { types } from 'node:util'
import type { CryptoKey, JWK } from 'jose'
import { OptionError } from '../errors.js'

/**
 * A private key: PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted), JWK, `KeyObject` or `CryptoKey`. See
 * {@link ProfileOptions}, {@link jwtBearerGrant}.
 */
export type SigningKey = string | JWK | KeyObject | CryptoKey

/** What each kind of key can sign with; the first is the default. RFC 7518 section 3.1, RFC 8037, RFC 9864. */
const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const CURVES: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ['ES256'],
  secp384r1: ['ES384'],
  secp521r1: ['ES512'],
}
/** RFC 7518 section 3.3. */
const SHORTEST_RSA = 2048

/** A key and what to sign with it. */
export interface Signer {
  readonly key: KeyObject
  readonly algorithm: string
  readonly keyId: string | undefined
  /** Everything that it may sign with: what was agreed, or whatever the kind of key allows. */
  readonly algorithms: readonly string[]
}

/**
 * @param algorithm default: the JWK's own, or what goes with the kind of key
 * @param options what messages call the two
 * @throws {OptionError} which says what is wrong with the key, and never what is in it
 */
export function signerOf(
  input: SigningKey,
  algorithm?: string,
  options = { key: 'key', algorithm: 'algorithm' },
): Signer {
  const key = privateKey(input, options.key)
  const able = algorithmsOf(key)
  const jwk = typeof input === 'object' && 'kty' in input ? input : undefined
  const agreed = algorithm ?? jwk?.alg
  const chosen = agreed ?? able[0]
  if (chosen === undefined || !able.includes(chosen)) {
    const problem = able.length === 0 ? 'this key cannot be used.' : `this key can be used with ${able.join(', ')}.`
    throw new OptionError(options.algorithm, problem)
  }
  if ((key.asymmetricKeyDetails?.modulusLength ?? SHORTEST_RSA) < SHORTEST_RSA) {
    throw new OptionError(options.key, `is an RSA key of less than ${SHORTEST_RSA} bits.`)
  }
  return { key, algorithm: chosen, keyId: jwk?.kid, algorithms: agreed === undefined ? able : [agreed] }
}

function privateKey(input: SigningKey, option: string): KeyObject {
  let key: KeyObject | undefined
  try {
    if (types.isKeyObject(input)) key = input
    else if (types.isCryptoKey(input)) key = KeyObject.from(input)
    // Environment variables often hold a PEM with its line breaks written as two characters.
    else if (typeof input === 'string') key = createPrivateKey(input.replaceAll('\\n', '\n'))
    else key = createPrivateKey({ key: input, format: 'jwk' } as JsonWebKeyInput)
  } catch {
    // What OpenSSL has to say helps nobody, and nothing of the key may get into a message.
  }
  if (key?.type === 'private') return key
  throw new OptionError(option, 'must be a private key that is not encrypted: PEM, JWK, KeyObject or CryptoKey.')
}

function algorithmsOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly string[] {
  switch (asymmetricKeyType) {
    case 'rsa':
      return RSA
    case 'ec':
      return CURVES[asymmetricKeyDetails?.namedCurve ?? ''] ?? []
    case 'ed25519':
      return ['EdDSA', 'Ed25519']
    default:
      return []
  }
}
