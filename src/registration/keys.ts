/** The keys that seal whatever leaves the process: those of the options, or derived from the client secret. */
import { randomBytes } from 'node:crypto'
import { OptionError } from '../errors.js'
import { KeyRing } from '../keys/key-ring.js'
import type { RegistrationOptions } from './registration.js'

export interface ResolvedKeys {
  readonly keys: KeyRing
  /** For what sessions hold: with a store, they open also what was sealed there before there was a store and its keys. */
  readonly sessionKeys: KeyRing
  /** Whether they end with the process. */
  readonly temporaryKeys: boolean
}

/** @throws {OptionError} */
export function resolveKeys(
  { encryptionKeys, storage }: RegistrationOptions,
  clientSecret: string | undefined,
): ResolvedKeys {
  // Long enough for the key ring whatever its own length: what protects it is the secret's randomness, not this text.
  const derived = clientSecret ? [`derived from the client secret: ${clientSecret}`] : []
  if (encryptionKeys !== undefined) {
    const list =
      typeof encryptionKeys === 'string' || encryptionKeys instanceof Uint8Array ? [encryptionKeys] : encryptionKeys
    if (!Array.isArray(list) || !list.every((key) => typeof key === 'string' || key instanceof Uint8Array)) {
      throw new OptionError('encryptionKeys', 'must be a key or an array of keys; a key is a string or bytes.')
    }
    const keys = new KeyRing(list)
    const moving = typeof storage === 'object'
    return { keys, sessionKeys: moving ? new KeyRing([...list, ...derived]) : keys, temporaryKeys: false }
  }
  if (typeof storage === 'object' && storage?.shared !== false) {
    throw new OptionError(
      'encryptionKeys',
      'is required with a store that others can read. Make a key with: npx fastify-oauth2client keygen',
    )
  }
  if (derived.length === 0 && process.env.NODE_ENV === 'production')
    throw new OptionError('encryptionKeys', 'is required for a client without a secret.')
  const keys = new KeyRing(clientSecret ? derived : [randomBytes(32)])
  return { keys, sessionKeys: keys, temporaryKeys: derived.length === 0 }
}
