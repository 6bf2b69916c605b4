/**
 * Seals what another store keeps.
 *
 * @module
 */
import { OptionError } from '../errors.js'
import { KeyRing, unreadable } from '../keys/key-ring.js'
import type { CredentialStore } from './storage.js'

/** The members of a store that may be missing. */
type Optional = 'shared' | 'list' | 'lock' | 'close'

/** A store whose values are sealed, with the optional methods that `Inner` has. {@link encrypted} makes it. */
export type EncryptedStore<Inner extends CredentialStore = CredentialStore> = Omit<CredentialStore, Optional> &
  Pick<Inner, Extract<keyof Inner, Optional>> & {
    /** Values are sealed here. There is one layer of encryption, never two. */
    readonly encrypted: true
  }

/**
 * Seals values before `store` gets them (AES-256-GCM) and opens them again: for those who use a store without the
 * plugin, which seals what it stores itself. A value is bound to its key, so that one copied onto another key cannot be
 * opened. Keys stay readable, for they are looked up.
 *
 * @param store any store; the result has the same optional methods
 * @param keys like the option `encryptionKeys`: at least 32 random characters or bytes each. The first one seals, all of
 * them open. To replace a key: append the new one everywhere, then move it to the front, then write every value again,
 * then remove the old one.
 *
 * @throws OptionError for unusable keys, and for a store that is encrypted already. `get` rejects with
 * CredentialsUnreadableError when a value cannot be opened, and keeps it; `reason` says whether its key is missing
 * (`unknown_key`), it was copied from another key of the store (`misplaced`), it was altered or never sealed (`damaged`),
 * or a later version sealed it (`newer_version`).
 *
 * @example
 * ```ts
 * import { encrypted } from 'fastify-oauth2client/storage/encrypted'
 * import { fileStore } from 'fastify-oauth2client/storage/file'
 *
 * const store = encrypted(fileStore({ path: 'credentials.json' }), process.env.CREDENTIALS_KEY ?? '')
 * // Write everything again with the first key.
 * for await (const key of store.list('')) {
 *   const stored = await store.get(key)
 *   if (stored) await store.put(key, stored.value, stored.generation)
 * }
 * ```
 */
export function encrypted<Inner extends CredentialStore>(
  store: Inner,
  keys: string | Uint8Array | readonly (string | Uint8Array)[],
): EncryptedStore<Inner> {
  if ((store as Partial<EncryptedStore>).encrypted) throw new OptionError('store', 'is encrypted already.')
  const ring = new KeyRing(typeof keys === 'string' || keys instanceof Uint8Array ? [keys] : keys)

  const sealed: EncryptedStore & CredentialStore = {
    encrypted: true,

    async get(key) {
      const stored = await store.get(key)
      if (!stored) return undefined
      try {
        return { ...stored, value: ring.open('credentials', [key], stored.value) }
      } catch (cause) {
        throw unreadable(cause)
      }
    },

    put: async (key, value, expected) => store.put(key, ring.seal('credentials', [key], value), expected),
    delete: (key, expected) => store.delete(key, expected),

    ...(store.name !== undefined && { name: store.name }),
    ...(store.shared !== undefined && { shared: store.shared }),
    ...(store.list && { list: store.list.bind(store) }),
    ...(store.lock && { lock: store.lock.bind(store) }),
    ...(store.close && { close: store.close.bind(store) }),
  }
  return sealed as unknown as EncryptedStore<Inner>
}
