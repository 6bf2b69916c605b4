/** Where one user's record is: a key of a credential store, or the session of a request. Used by the manager only. */
import { BoundedMap } from '../bounded-map.js'
import { ClientMismatchError, OAuth2ClientError, StoreUnavailableError } from '../errors.js'
import { type KeyRing, readHeader, unreadable } from '../keys/key-ring.js'
import type { CredentialLock, CredentialStore, StoredCredentials } from '../storage/storage.js'
import { type CredentialRecord, checkedRecord, parseRecord, serializeRecord, withhold } from './record.js'

/** A record as it was read. */
export interface Snapshot {
  readonly record: CredentialRecord
  readonly generation: number
  /** Milliseconds since it was written, by the clock of where it is kept. */
  readonly age?: number | undefined
  /** Whether it was remembered rather than read: then it is no ground for refusing anything. */
  readonly remembered?: true
}

/** One place for one record, with the conditions of `CredentialStore`. */
export interface Vault {
  /** Names the place within this process; flights and caches are kept by it. */
  readonly id: string
  /** Names it for as long as it lasts, where `id` changes with what it holds. */
  readonly place?: string
  /** Whether writes are compared and set, so that a journal of attempts means something. */
  readonly journaled: boolean
  read(): Promise<Snapshot | undefined>
  /** The same at once, where it is at hand anyway. */
  peek?(): Snapshot | undefined
  /** What `look` would find, where that takes no time; nothing where it has to be waited for. */
  glance?(): Snapshot | undefined
  /** Reads what is only looked at: refresh tokens are withheld, and what was opened before is not opened again. */
  look?(): Promise<Snapshot | undefined>
  write(record: CredentialRecord, expected?: number): Promise<number | false>
  delete(expected?: number): Promise<boolean>
  /** A lease on a part of the record, where the store has leases; `undefined` while somebody else has it. */
  readonly lock?: ((ttlMs: number, part: string) => Promise<CredentialLock | undefined>) | undefined
}

/** Seals records for one client of one provider. */
export class RecordSealer {
  readonly #keys: KeyRing
  readonly #issuer: string
  readonly #clientId: string
  // Most looks find what the last one found; the sealed text itself is the proof that nothing changed.
  readonly #looked = new BoundedMap<string, { readonly sealed: string; readonly record: CredentialRecord }>(KEPT)

  constructor(keys: KeyRing, issuer: string, clientId: string) {
    this.#keys = keys
    this.#issuer = issuer
    this.#clientId = clientId
  }

  /** The id of the key that seals. */
  get kid(): string {
    return this.#keys.kids[0]
  }

  seal(key: string, record: CredentialRecord): string {
    return this.sealText(key, serializeRecord(record))
  }

  /** Seals what was opened by {@link openText}, whatever version it is of. */
  sealText(key: string, text: string): string {
    const header = { iss: this.#issuer, client_id: this.#clientId }
    return this.#keys.seal('credentials', this.#context(key), text, header)
  }

  /** @throws {ClientMismatchError} {@link CredentialsUnreadableError} */
  open(key: string, sealed: string): CredentialRecord {
    return parseRecord(this.openText(key, sealed))
  }

  /** The same without refresh tokens. @throws {ClientMismatchError} {@link CredentialsUnreadableError} */
  look(key: string, sealed: string): CredentialRecord {
    return this.note(key, sealed, checkedRecord(this.openText(key, sealed)))
  }

  /** What is sealed there, for whoever looks next. */
  note(key: string, sealed: string, full: CredentialRecord): CredentialRecord {
    const record = withhold(full)
    this.#looked.set(key, { sealed, record })
    return record
  }

  /** There is nothing there any more. */
  forget(key: string): void {
    this.#looked.delete(key)
  }

  /** What `look` found the last time, if this is what it looked at. */
  looked(key: string, sealed: string): CredentialRecord | undefined {
    const last = this.#looked.get(key)
    return last?.sealed === sealed ? last.record : undefined
  }

  /** The same without a look at what it says: a record of a later version is text too. */
  openText(key: string, sealed: string): string {
    try {
      return this.#keys.open('credentials', this.#context(key), sealed)
    } catch (cause) {
      const header = readHeader(sealed)
      if (header?.iss !== undefined && (header.iss !== this.#issuer || header.client_id !== this.#clientId)) {
        throw new ClientMismatchError()
      }
      throw unreadable(cause)
    }
  }

  #context(key: string): string[] {
    return [this.#issuer, this.#clientId, key]
  }
}

const KEPT = 1_000

/** What is told of each key before something is sealed with it; a `KeyRegistry`. */
export interface KeyRegistrar {
  register(kid: string): Promise<void>
}

/** The vault of one key of a store. */
export class StoreVault implements Vault {
  readonly id: string
  readonly #store: CredentialStore
  readonly #sealer: RecordSealer
  readonly #registrar: KeyRegistrar | undefined

  constructor(store: CredentialStore, sealer: RecordSealer, key: string, registrar?: KeyRegistrar) {
    this.id = key
    this.#store = store
    this.#sealer = sealer
    this.#registrar = registrar
  }

  get journaled(): boolean {
    return true
  }

  async read(): Promise<Snapshot | undefined> {
    const stored = await reach(() => this.#store.get(this.id))
    return stored && snapshotOf(stored, this.#sealer.open(this.id, stored.value))
  }

  async look(): Promise<Snapshot | undefined> {
    let stored: StoredCredentials | undefined
    // As `reach` does, in every request of an app without a cache.
    try {
      stored = await this.#store.get(this.id)
    } catch (cause) {
      throw unreachable(cause)
    }
    if (!stored) return undefined
    const { value } = stored
    return snapshotOf(stored, this.#sealer.looked(this.id, value) ?? this.#sealer.look(this.id, value))
  }

  glance(): Snapshot | undefined {
    // A copy of such a store that others can read too, or that is to count as one, is no longer all at hand.
    const stored = this.#store.shared === false ? this.#store.peek?.(this.id) : undefined
    const record = stored && this.#sealer.looked(this.id, stored.value)
    return record && snapshotOf(stored, record)
  }

  async write(record: CredentialRecord, expected?: number): Promise<number | false> {
    await this.#registrar?.register(this.#sealer.kid)
    const value = this.#sealer.seal(this.id, record)
    const written = await reach(() => this.#store.put(this.id, value, expected))
    if (written !== false) this.#sealer.note(this.id, value, record)
    return written
  }

  async delete(expected?: number): Promise<boolean> {
    const deleted = await reach(() => this.#store.delete(this.id, expected))
    if (deleted) this.#sealer.forget(this.id)
    return deleted
  }

  get lock(): Vault['lock'] {
    const { id } = this
    const store = this.#store
    // No key of a record holds a "#", so that no store can take a lease for a record.
    return store.lock && (async (ttlMs, part) => store.lock?.(`${id}#${part}`, ttlMs))
  }
}

function snapshotOf({ generation, age }: StoredCredentials, record: CredentialRecord): Snapshot {
  return { record, generation, age }
}

/** Makes every failure of a store the same coded error; what it said goes into the cause. */
export async function reach<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (cause) {
    throw unreachable(cause)
  }
}

function unreachable(cause: unknown): OAuth2ClientError {
  return cause instanceof OAuth2ClientError ? cause : new StoreUnavailableError({ cause })
}
