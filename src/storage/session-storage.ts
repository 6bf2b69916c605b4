/**
 * `storage: 'session'`: one user's record in the session of the request, sealed unless the session is encrypted anyway. Promises one refresh per token within this
 * process only: two requests of one session have a copy of it each, so what one refreshed is kept for those that come with
 * the old copy.
 */
import { createHash } from 'node:crypto'
import { type CredentialRecord, parseRecord, serializeRecord } from '../credentials/record.js'
import type { RecordSealer, Vault } from '../credentials/vault.js'
import { CredentialsRequiredError } from '../errors.js'

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

/** A vault over one request's session. `adopt` brings the request's own copy up to date with a refresh made elsewhere. */
export interface SessionVault extends Vault {
  adopt(record: CredentialRecord): Promise<void>
}

export class SessionStorage {
  readonly #sealer: RecordSealer
  readonly #clock: () => number
  /** Records by the digest of the tokens that they replaced. */
  readonly #replay = new Map<string, { record: CredentialRecord; until: number }>()
  /** What was opened last, by the id of its link: most requests of a session bring the same. */
  readonly #opened = new Map<string, Opened>()
  /** Ids that ended by sign-out or revocation: nothing may be written for them any more. */
  readonly #ended = new Set<string>()

  constructor(sealer: RecordSealer, clock: () => number) {
    this.#sealer = sealer
    this.#clock = clock
  }

  /** The vault, where the session brings what it brought before and nothing became of that meanwhile. */
  vaultAtHand(slot: SessionSlot): SessionVault | undefined {
    const opened = this.#opened.get(slot.id)
    if (!opened || opened.sealed !== slot.read() || this.#ended.has(slot.id)) return undefined
    if (this.#replay.has(digest(opened.record))) return undefined
    return this.#vault(slot, opened.record)
  }

  async vault(slot: SessionSlot): Promise<SessionVault> {
    const sealed = slot.read()
    if (sealed === undefined || this.#ended.has(slot.id)) return this.#vault(slot, undefined)
    const record = await this.open(slot, sealed)
    if (this.#ended.has(slot.id)) return this.#vault(slot, undefined)
    this.#note(slot.id, sealed, record)
    const vault = this.#vault(slot, record)
    const newest = this.#newest(record)
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

  #vault(slot: SessionSlot, opened: CredentialRecord | undefined): SessionVault {
    let current = opened
    // Two accounts may be refreshed at once within a request: the second to write has to see what the first wrote.
    let generation = 1
    const gone = (expected?: number): false => {
      // Whoever creates would try again for ever: the place itself is gone.
      if (!expected) throw new CredentialsRequiredError()
      return false
    }
    const write = async (record: CredentialRecord, expected?: number): Promise<number | false> => {
      if (this.#ended.has(slot.id)) return gone(expected)
      if (expected && expected !== generation) return false
      const newest = expected && current && this.#newest(current)
      if (!newest || [digest(current as CredentialRecord), digest(record)].includes(digest(newest))) {
        return put(record, expected)
      }
      // Another request of this session has written meanwhile. Whoever writes has to see that first.
      await put(newest, expected)
      return false
    }
    const put = async (record: CredentialRecord, expected: number | undefined): Promise<number | false> => {
      generation += 1
      const written = generation
      const before = current
      current = record
      try {
        const sealed = await this.seal(slot, record)
        // Whatever was written while this was being sealed was built on it, and must not be overwritten by it.
        if (current === record) await slot.write(sealed)
      } catch (error) {
        if (current === record) current = before
        throw error
      }
      if (this.#ended.has(slot.id)) {
        // It ended while this was on its way: the session may have come back to life by it, and must not hold it.
        current = undefined
        await slot.write(undefined)
        return gone(expected)
      }
      if (before && before !== record) this.#keep(digest(before), record)
      return written
    }
    const peek = () => (current && !this.#ended.has(slot.id) ? { record: current, generation } : undefined)
    let id: string | undefined
    return {
      get id() {
        id ??= `session/${current ? digest(current) : slot.id}`
        return id
      },
      place: `session/${slot.id}`,
      journaled: false,
      peek,
      read: async () => peek(),
      write,
      adopt: async (record) => {
        if (record !== current) await write(record, generation)
      },
      delete: async () => {
        this.end(slot.id)
        const existed = current !== undefined
        current = undefined
        await slot.write(undefined)
        return existed
      },
    }
  }

  /** An authorization replaced what one link held: requests that still carry that get what the other one holds. */
  async supersede(before: Held, after: Held, encrypted: boolean): Promise<void> {
    if (before.credentials === undefined || after.credentials === undefined) return
    const record = await this.open({ id: after.id, encrypted }, after.credentials)
    const replaced = await this.open({ id: before.id, encrypted }, before.credentials).catch(() => undefined)
    if (replaced) this.#keep(digest(replaced), record)
  }

  /** Nothing is read or written for that id any more, also by requests that are under way. */
  end(id: string): void {
    if (this.#ended.size >= MAXIMUM) this.#ended.delete(this.#ended.values().next().value as string)
    this.#ended.add(id)
    this.#opened.delete(id)
  }

  /** Whether `end` was called for that id. What comes with it was written back by a request that knew no better. */
  hasEnded(id: string): boolean {
    return this.#ended.has(id)
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
  #newest(record: CredentialRecord): CredentialRecord | undefined {
    let newest: CredentialRecord | undefined
    const seen = new Set<string>()
    for (let key = digest(record); !seen.has(key); ) {
      seen.add(key)
      const replay = this.#replay.get(key)
      if (!replay || this.#clock() >= replay.until) break
      newest = replay.record
      key = digest(newest)
    }
    return newest
  }

  #keep(key: string, record: CredentialRecord): void {
    const now = this.#clock()
    for (const [old, { until }] of this.#replay) {
      if (now < until && this.#replay.size < MAXIMUM) break
      this.#replay.delete(old)
    }
    this.#replay.set(key, { record, until: now + REPLAY_FOR })
  }
}

/** Names a set of tokens without being one: maps that outlive a request hold no refresh token as key. */
function digest(record: CredentialRecord): string {
  const known = digests.get(record)
  if (known !== undefined) return known
  const tokens = record.accounts.map(({ tokens }) => `${tokens.accessToken} ${tokens.refreshToken}`)
  const made = createHash('sha256').update(tokens.join('\n')).digest('base64url')
  digests.set(record, made)
  return made
}

/** Records do not change. */
const digests = new WeakMap<CredentialRecord, string>()
