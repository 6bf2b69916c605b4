/** The vault over one request's session. */
import { createHash } from 'node:crypto'
import type { CredentialRecord } from '../credentials/record.js'
import type { Snapshot, Vault } from '../credentials/vault.js'
import { CredentialsRequiredError } from '../errors.js'
import type { SessionStorage } from './session-storage.js'

/** The session of one request, as far as it concerns us. */
export interface SessionSlot {
  /** The opaque id in the session that the record belongs to. */
  readonly id: string
  /** Whether the session as a whole is encrypted: then another layer would only take up room. */
  readonly encrypted: boolean
  read(): string | undefined
  /** Puts the sealed record into the session, or takes it out, and has the session saved. */
  write(sealed: string | undefined): Promise<void>
}

/** A class, and not a handful of closures, since most requests have one: see `guards/handler-failure` for what those cost. */
export class SessionVault implements Vault {
  readonly journaled = false
  readonly #storage: SessionStorage
  readonly #slot: SessionSlot
  #current: CredentialRecord | undefined
  // Two accounts may be refreshed at once within a request: the second to write has to see what the first wrote.
  #generation = 1
  #id: string | undefined

  constructor(storage: SessionStorage, slot: SessionSlot, opened: CredentialRecord | undefined) {
    this.#storage = storage
    this.#slot = slot
    this.#current = opened
  }

  get id(): string {
    this.#id ??= `session/${this.#current ? digestOf(this.#current) : this.#slot.id}`
    return this.#id
  }

  get place(): string {
    return `session/${this.#slot.id}`
  }

  get #ended(): boolean {
    return this.#storage.hasEnded(this.#slot.id)
  }

  peek(): Snapshot | undefined {
    return this.#current && !this.#ended ? { record: this.#current, generation: this.#generation } : undefined
  }

  async read(): Promise<Snapshot | undefined> {
    return this.peek()
  }

  async write(record: CredentialRecord, expected?: number): Promise<number | false> {
    if (this.#ended) return gone(expected)
    if (expected && expected !== this.#generation) return false
    const newest = expected && this.#current && this.#storage.newest(this.#current)
    if (!newest || [digestOf(this.#current as CredentialRecord), digestOf(record)].includes(digestOf(newest))) {
      return this.#put(record, expected)
    }
    // Another request of this session has written meanwhile. Whoever writes has to see that first.
    await this.#put(newest, expected)
    return false
  }

  async #put(record: CredentialRecord, expected: number | undefined): Promise<number | false> {
    this.#generation += 1
    const written = this.#generation
    const before = this.#current
    this.#current = record
    try {
      const sealed = await this.#storage.seal(this.#slot, record)
      // Whatever was written while this was being sealed was built on it, and must not be overwritten by it.
      if (this.#current === record) await this.#slot.write(sealed)
    } catch (error) {
      if (this.#current === record) this.#current = before
      throw error
    }
    if (this.#ended) {
      // It ended while this was on its way: the session may have come back to life by it, and must not hold it.
      this.#current = undefined
      await this.#slot.write(undefined)
      return gone(expected)
    }
    if (before && before !== record) this.#storage.keep(before, record)
    return written
  }

  /** Brings the request's own copy up to date with a refresh made elsewhere. */
  async adopt(record: CredentialRecord): Promise<void> {
    if (record !== this.#current) await this.write(record, this.#generation)
  }

  async delete(): Promise<boolean> {
    this.#storage.end(this.#slot.id)
    const existed = this.#current !== undefined
    this.#current = undefined
    await this.#slot.write(undefined)
    return existed
  }
}

/** Whoever creates would try again for ever: the place itself is gone. */
function gone(expected?: number): false {
  if (!expected) throw new CredentialsRequiredError()
  return false
}

/** Names a set of tokens without being one: maps that outlive a request hold no refresh token as key. */
export function digestOf(record: CredentialRecord): string {
  const known = digests.get(record)
  if (known !== undefined) return known
  const tokens = record.accounts.map(({ tokens }) => `${tokens.accessToken} ${tokens.refreshToken}`)
  const made = createHash('sha256').update(tokens.join('\n')).digest('base64url')
  digests.set(record, made)
  return made
}

/** Records do not change. */
const digests = new WeakMap<CredentialRecord, string>()
