/**
 * What a credential store is. Stores keep opaque strings under opaque keys; they know nothing about tokens, users or
 * encryption. Called by `credentials/manager`, never by request code.
 */

/** Credentials as a store sees them: one opaque string, sealed before it gets here. See {@link CredentialStore}. */
export type SerializedCredentials = string

/** A stored value together with what compare-and-set needs. {@link CredentialStore.get} resolves to one. */
export interface StoredCredentials {
  /** What was put, to the letter. */
  readonly value: SerializedCredentials
  /** Grows with every write and every delete of this key, and is never used twice for a key. */
  readonly generation: number
  /** Milliseconds since the value was written, by the store's own clock. */
  readonly age?: number
}

/**
 * A lease on a key. Losing it never breaks anything: it only saves other processes from waiting in vain.
 * {@link CredentialStore.lock} gives one.
 */
export interface CredentialLock {
  /** Prolongs the lease by `ttlMs` from now; `false` when somebody else holds it by now. */
  renew(ttlMs: number): Promise<boolean>
  /** Gives the lease back early. Does nothing where somebody else holds it by now. */
  release(): Promise<void>
}

/**
 * Where credentials live. Every method rejects when the store cannot be reached; none retries.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'fastify-oauth2client/storage/memory'
 * import type { CredentialStore } from 'fastify-oauth2client'
 *
 * const store: CredentialStore = memoryStore()
 * const generation = await store.put('user/alice', 'sealed', 0)
 * ```
 */
export interface CredentialStore {
  /** What metrics call it: one word. Default `'custom'`. */
  readonly name?: string
  /** Whether others than this process can read it. Default `true`, which makes `encryptionKeys` required. */
  readonly shared?: boolean
  /** The newest value, or `undefined` when there is none or it was deleted. Linearizable. */
  get(key: string): Promise<StoredCredentials | undefined>
  /** What `get` resolves to, at once. Saves guards the wait; used only where `shared` is `false`, for what has everything in this process. */
  peek?(key: string): StoredCredentials | undefined
  /**
   * Writes `value` and resolves to its generation, or to `false` when the condition does not hold.
   * `expected` n: only over generation n. 0: only where nothing is stored (or it was deleted). Omitted: unconditionally.
   */
  put(key: string, value: SerializedCredentials, expected?: number): Promise<number | false>
  /**
   * Deletes the value, leaving a tombstone for at least an hour so that a late writer can tell "deleted" from "never was".
   * `true` when this call deleted it; `false` when there was nothing, or `expected` is not its generation.
   */
  delete(key: string, expected?: number): Promise<boolean>
  /** Every key that starts with `prefix` and has a value. */
  list?(prefix: string): AsyncIterable<string>
  /** A lease on `key` for `ttlMs`, or `undefined` while somebody else has one. */
  lock?(key: string, ttlMs: number): Promise<CredentialLock | undefined>
  /** Ends what the store opened itself. Called by whoever made the store, never by us. */
  close?(): Promise<void>
}
