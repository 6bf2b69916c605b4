/** The keys that seal whatever leaves the process: those of the options, or derived from the client secret. */
import { randomBytes } from 'node:crypto'
import { OptionError } from './errors.js'
import { KeyRing } from './keys/key-ring.js'
import type { OAuth2ClientOptions } from './options.js'

/** @throws {OptionError} */
export function resolveKeys(
  { encryptionKeys, storage }: OAuth2ClientOptions,
  clientSecret: string | undefined,
  production: boolean,
): { keys: KeyRing; temporary: boolean } {
  if (encryptionKeys !== undefined) {
    const list =
      typeof encryptionKeys === 'string' || encryptionKeys instanceof Uint8Array ? [encryptionKeys] : encryptionKeys
    if (!Array.isArray(list) || !list.every((key) => typeof key === 'string' || key instanceof Uint8Array)) {
      throw new OptionError('encryptionKeys', 'must be a key or an array of keys; a key is a string or bytes.')
    }
    return { keys: new KeyRing(list), temporary: false }
  }
  if (typeof storage === 'object' && storage?.shared !== false) {
    throw new OptionError(
      'encryptionKeys',
      'is required with a store that others can read. Make a key with: npx fastify-oauth2client keygen',
    )
  }
  // Long enough for the key ring whatever its own length: what protects it is the secret's randomness, not this text.
  if (clientSecret) return { keys: new KeyRing([`derived from the client secret: ${clientSecret}`]), temporary: false }
  if (production) throw new OptionError('encryptionKeys', 'is required for a client without a secret.')
  return { keys: new KeyRing([randomBytes(32)]), temporary: true }
}
