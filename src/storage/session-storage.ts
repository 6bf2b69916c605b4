/**
 * `storage: 'session'`: one user's record in the session of the request, sealed unless the session is encrypted anyway. Promises
 * one refresh per token within this process only: two requests of one session have a copy of it each, so what one refreshed is
 * kept for those that come with the old copy.
 */
import { BoundedMap } from '../bounded-map.js'
import { type CredentialRecord, parseRecord, serializeRecord } from '../credentials/record.js'
import type { RecordSealer } from '../credentials/vault.js'
import { digestOf, type SessionSlot, SessionVault } from './session-vault.js'

/** What a link holds of credentials. */
interface Held {
  readonly id: string
  readonly credentials?: string
}

/** Milliseconds for which a copy that was overtaken is still recognized. */
const REPLAY_FOR = 30_000
const MAXIMUM = 10_000
/** Milliseconds, for whose session nobody uses any more: what was opened holds a refresh token. */
const OPENED_FOR = 600_000
const MAXIMUM_OPENED = 1_000

interface Opened {
  readonly sealed: string
  readonly record: CredentialRecord
  readonly at: number
}

export class SessionStorage {
  readonly #sealer: RecordSealer
  readonly #clock: () => number
  /** Records by the digest of the tokens that they replaced. */
  readonly #replay = new Map<string, { record: CredentialRecord; until: number }>()
  /** What was opened last, by the id of its link: most requests of a session bring the same. */
  readonly #opened = new Map<string, Opened>()
  /** Ids that ended by sign-out or revocation: nothing may be written for them any more. */
  readonly #ended = new BoundedMap<string, true>(MAXIMUM)

  constructor(sealer: RecordSealer, clock: () => number) {
    this.#sealer = sealer
    this.#clock = clock
  }

  /** The vault, where the session brings what it brought before and nothing became of that meanwhile. */
  vaultAtHand(slot: SessionSlot): SessionVault | undefined {
    const opened = this.#opened.get(slot.id)
    if (!opened || opened.sealed !== slot.read() || this.#ended.get(slot.id)) return undefined
    if (this.#replay.has(digestOf(opened.record))) return undefined
    return new SessionVault(this, slot, opened.record)
  }

  async vault(slot: SessionSlot): Promise<SessionVault> {
    const sealed = slot.read()
    if (sealed === undefined || this.#ended.get(slot.id)) return new SessionVault(this, slot, undefined)
    const record = await this.open(slot, sealed)
    if (this.#ended.get(slot.id)) return new SessionVault(this, slot, undefined)
    this.#note(slot.id, sealed, record)
    const vault = new SessionVault(this, slot, record)
    const newest = this.newest(record)
    if (newest) await vault.adopt(newest)
    return vault
  }

  #note(id: string, sealed: string, record: CredentialRecord): void {
    const at = this.#clock()
    this.#opened.delete(id)
    for (const [other, opened] of this.#opened) {
      if (at - opened.at < OPENED_FOR && this.#opened.size < MAXIMUM_OPENED) break
      this.#opened.delete(other)
    }
    this.#opened.set(id, { sealed, record, at })
  }

  /** An authorization replaced what one link held: requests that still carry that get what the other one holds. */
  async supersede(before: Held, after: Held, encrypted: boolean): Promise<void> {
    if (before.credentials === undefined || after.credentials === undefined) return
    const record = await this.open({ id: after.id, encrypted }, after.credentials)
    const replaced = await this.open({ id: before.id, encrypted }, before.credentials).catch(() => undefined)
    if (replaced) this.keep(replaced, record)
  }

  /** Nothing is read or written for that id any more, also by requests that are under way. */
  end(id: string): void {
    this.#ended.set(id, true)
    this.#opened.delete(id)
  }

  /** Whether `end` was called for that id. What comes with it was written back by a request that knew no better. */
  hasEnded(id: string): boolean {
    return this.#ended.get(id) === true
  }

  /** What goes into a session for a record. */
  async seal({ id, encrypted }: Pick<SessionSlot, 'id' | 'encrypted'>, record: CredentialRecord): Promise<string> {
    return encrypted ? serializeRecord(record) : this.#sealer.seal(id, record)
  }

  /** @throws {CredentialsUnreadableError} {@link ClientMismatchError} */
  async open({ id, encrypted }: Pick<SessionSlot, 'id' | 'encrypted'>, text: string): Promise<CredentialRecord> {
    return encrypted ? parseRecord(text) : this.#sealer.open(id, text)
  }

  /** What became of a record, however many steps ago. */
  newest(record: CredentialRecord): CredentialRecord | undefined {
    let newest: CredentialRecord | undefined
    const seen = new Set<string>()
    for (let key = digestOf(record); !seen.has(key); ) {
      seen.add(key)
      const replay = this.#replay.get(key)
      if (!replay || this.#clock() >= replay.until) break
      newest = replay.record
      key = digestOf(newest)
    }
    return newest
  }

  /** Requests that still carry what a record replaced get that record, for a while. */
  keep(replaced: CredentialRecord, record: CredentialRecord): void {
    const now = this.#clock()
    for (const [old, { until }] of this.#replay) {
      if (now < until && this.#replay.size < MAXIMUM) break
      this.#replay.delete(old)
    }
    this.#replay.set(digestOf(replaced), { record, until: now + REPLAY_FOR })
  }
}
