/** Reads, refreshes and changes what is stored, in any vault, and remembers some of it. */
import { setTimeout } from 'node:timers/promises'
import { ClientMismatchError, CredentialsRequiredError, OAuth2ClientError, StoreUnavailableError } from '../errors.js'
import type { CredentialsChange } from '../events.js'
import type { RevocationOutcome } from '../flows/revocation.js'
import type { Provider } from '../provider/provider.js'
import type { Watch } from '../telemetry/watch.js'
import { Recent } from './recent.js'
import { type Account, accountOf, type CredentialRecord, withhold } from './record.js'
import { Refresher, type RefreshRequest } from './refresh/refresher.js'
import { isLive } from './refresh/state.js'
import type { Snapshot, Vault } from './vault.js'

export interface KeeperOptions {
  readonly provider: Provider
  /** Seconds before expiry at which a new access token is fetched. */
  readonly refreshBeforeExpiry: number
  /** Whether an early refresh that takes long goes on behind the caller's back. */
  readonly backgroundRefresh: boolean
  /** Seconds for which what was read last may be used instead of reading. */
  readonly cacheMaxAge: number
  /** Told of every change, whoever made it. */
  readonly changed: (vault: Vault, change: CredentialsChange, account: Account, remote?: RevocationOutcome) => void
  /** Told once of each refresh that brought nothing. */
  readonly refreshFailed: (vault: Vault, account: Account, error: OAuth2ClientError) => void
  readonly watch?: Watch | undefined
  /** Milliseconds from any start, never going back. Default `performance.now`. */
  readonly monotonic?: (() => number) | undefined
  /** Waits that many milliseconds. Default a timer. */
  readonly sleep?: ((ms: number) => Promise<void>) | undefined
}

/** Which account, and what will not do. */
export interface UsableOptions {
  readonly account?: string | undefined
  /** An access token that an API refused: only another one will do. */
  readonly rejected?: string | undefined
}

/** Milliseconds that a caller with a working token waits for an early refresh. */
const EARLY_PATIENCE = 1_000
/** Milliseconds for which a failed early refresh is not tried again while the old token still works. */
const RETRY_EARLY_AFTER = 10_000
const MAXIMUM_RESTING = 10_000

export class Keeper {
  readonly provider: Provider
  readonly #options: KeeperOptions
  readonly #sleep: (ms: number) => Promise<void>
  readonly #refresher: Refresher
  readonly #recent: Recent
  /** Until when an early refresh is not tried again, by access token. */
  readonly #resting = new Map<string, number>()
  /** Everybody who waits for one refresh gets one error. */
  readonly #told = new WeakSet<Error>()

  constructor(options: KeeperOptions) {
    this.provider = options.provider
    this.#options = options
    this.#recent = new Recent({
      cacheMaxAge: options.cacheMaxAge,
      clock: options.provider.clock,
      monotonic: options.monotonic ?? (() => performance.now()),
    })
    this.#sleep = options.sleep ?? ((ms) => setTimeout(ms, undefined, { ref: false }))
    this.#refresher = new Refresher({
      provider: options.provider,
      check: ({ record }) => this.#checkOwner(record),
      onWritten: (vault, snapshot, account, changed) => {
        this.#wrote(vault, snapshot)
        if (changed) options.changed(vault, account.dead ? 'needs_reauthorization' : 'refreshed', account)
      },
      monotonic: options.monotonic,
      watch: options.watch,
      // These keep the process alive: what was received has yet to be written down.
      sleep: options.sleep ?? ((ms) => setTimeout(ms)),
    })
  }

  /**
   * What is stored, without refresh tokens. When the store cannot be reached: what it last said, as long as the access token in
   * it works.
   *
   * @param recall whether what was read a moment ago will do
   * @param certain for whoever is about to refuse something: what the store last said will not do then
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}
   */
  async load(vault: Vault, { recall = false, certain = false } = {}): Promise<Snapshot | undefined> {
    if (vault.peek) return this.recall(vault)
    if (recall) {
      const recalled = this.recall(vault)
      if (recalled) return recalled
      // No `await` where nothing is being read: those who come in the same moment would all be past this before the first of
      // them reads.
      const reading = this.#recent.joinable(vault.id)
      const joined = reading && (await reading.snapshot)
      if (joined) return { ...joined, remembered: true }
    }
    const read = this.#recent.began(vault.id, this.#read(vault, certain), certain)
    try {
      const snapshot = await read.snapshot
      // What was only remembered was not read.
      if (!snapshot?.remembered) this.#recent.found(read, snapshot)
      return snapshot
    } finally {
      this.#recent.ended(read)
    }
  }

  async #read(vault: Vault, certain: boolean): Promise<Snapshot | undefined> {
    try {
      const snapshot = await (vault.look?.() ?? vault.read())
      if (snapshot) this.#checkOwner(snapshot.record)
      return snapshot
    } catch (error) {
      const last = this.#recent.last(vault.id)
      const now = this.provider.clock()
      if (!certain && error instanceof StoreUnavailableError && last?.record.accounts.some((a) => isLive(a, now)))
        return last
      throw error
    }
  }

  /** What is at hand, or was read a moment ago, if that was no longer ago than it may be. @throws {ClientMismatchError} */
  recall(vault: Vault): Snapshot | undefined {
    const snapshot = vault.peek ? vault.peek() : vault.glance?.()
    if (snapshot) this.#checkOwner(snapshot.record)
    return snapshot ?? (vault.peek ? undefined : this.#recent.recall(vault.id))
  }

  /** Whether the access token works as it is, so that `usable` would do nothing. */
  isUsable(account: Account | undefined): boolean {
    if (!account) return false
    const now = this.provider.clock()
    return isLive(account, now) && !this.#isDue(account, now)
  }

  /**
   * The same credentials with an access token that works, refreshed first if it has expired or is about to.
   *
   * @throws {CredentialsRequiredError} when only a person can help
   * @throws {ProviderUnavailableError} when a new token is needed and cannot be had now
   */
  async usable(vault: Vault, loaded: Snapshot | undefined, options: UsableOptions = {}): Promise<Snapshot> {
    let snapshot = loaded
    let account = accountOf(snapshot?.record, options.account)
    if (snapshot?.remembered && (!account || account.dead)) {
      snapshot = await this.load(vault, { certain: true })
      account = accountOf(snapshot?.record, options.account)
    }
    if (!snapshot || !account || account.dead) throw new CredentialsRequiredError()
    const now = this.provider.clock()
    const { accessToken } = account.tokens
    const live = isLive(account, now, options.rejected)
    if (live && !this.#isDue(account, now)) return snapshot
    try {
      // What is about to expire is treated as refused, so that whoever refreshed it meanwhile is believed.
      const rejected = live ? accessToken : options.rejected
      const refreshed = this.#refresh(vault, account, { rejected, patient: !live })
      if (!live || !this.#options.backgroundRefresh || !vault.journaled) return await refreshed
      return await Promise.race([refreshed, this.#sleep(EARLY_PATIENCE).then(() => snapshot)])
    } catch (error) {
      // A token that still works is never made unusable by a refresh that was only early.
      if (!live || error instanceof CredentialsRequiredError) throw error
      if (this.#resting.size >= MAXIMUM_RESTING) this.#resting.clear()
      this.#resting.set(accessToken, now + RETRY_EARLY_AFTER)
      return snapshot
    }
  }

  /**
   * Changes what is stored under compare-and-set, as often as it takes.
   *
   * @param change returns the new record, or `undefined` to leave everything as it is
   */
  async update(
    vault: Vault,
    change: (current: CredentialRecord | undefined) => CredentialRecord | undefined,
  ): Promise<CredentialRecord | undefined> {
    for (;;) {
      const snapshot = await vault.read()
      if (snapshot) this.#checkOwner(snapshot.record)
      const record = change(snapshot?.record)
      if (record === undefined) return snapshot?.record
      const generation = await vault.write(record, snapshot?.generation ?? 0)
      if (generation === false) continue
      this.#wrote(vault, { record, generation })
      return record
    }
  }

  /**
   * Removes what is stored, or a part of it, whatever is being written at the same time.
   *
   * @param reduce what is left of the record; `undefined` for nothing
   */
  async remove(
    vault: Vault,
    reduce: (record: CredentialRecord) => CredentialRecord | undefined | Promise<CredentialRecord | undefined>,
  ): Promise<CredentialRecord | undefined> {
    for (;;) {
      const snapshot = await vault.read()
      if (!snapshot) break
      this.#checkOwner(snapshot.record)
      const rest = await reduce(snapshot.record)
      const done = rest ? await vault.write(rest, snapshot.generation) : await vault.delete(snapshot.generation)
      if (done === false) continue
      if (rest) this.#wrote(vault, { record: rest, generation: Number(done) })
      else this.#wrote(vault, undefined, snapshot.generation + 1)
      return rest
    }
    this.#recent.forget(vault.id)
    return undefined
  }

  /** Tells listeners about a change that was made through `update` or `remove`. */
  announce(vault: Vault, change: CredentialsChange, account: Account, remote?: RevocationOutcome): void {
    this.#options.changed(vault, change, account, remote)
  }

  /** Resolves when no refresh is under way: one that was sent must be answered and written down. */
  async close(): Promise<void> {
    await this.#refresher.settled()
  }

  async #refresh(vault: Vault, account: Account, request: RefreshRequest): Promise<Snapshot> {
    try {
      const snapshot = await this.#refresher.refresh(vault, account.id, request)
      return vault.journaled ? { ...snapshot, record: withhold(snapshot.record) } : snapshot
    } catch (error) {
      if (error instanceof OAuth2ClientError && !this.#told.has(error)) {
        this.#told.add(error)
        // Why it is over was written down by now: where it can be looked up without asking a store again.
        const { record } = (vault.journaled ? this.#recent.last(vault.id) : await vault.read()) ?? {}
        this.#options.refreshFailed(vault, accountOf(record, account.id) ?? account, error)
      }
      throw error
    }
  }

  #isDue({ tokens }: Account, now: number): boolean {
    if (tokens.expiresAt === undefined || tokens.refreshToken === undefined) return false
    // A short-lived token would otherwise be due from the moment it was issued.
    const early = Math.min(this.#options.refreshBeforeExpiry * 1000, (tokens.expiresAt - tokens.obtainedAt) / 2)
    // Jitter keeps processes that got their tokens together from refreshing them together.
    if (now < tokens.expiresAt - early * (1 - 0.1 * Math.random())) return false
    return now >= (this.#resting.get(tokens.accessToken) ?? 0)
  }

  /** A staging client on the production database must neither use nor overwrite what it finds there. */
  #checkOwner(record: CredentialRecord): void {
    if (record.issuer !== this.provider.issuer || record.clientId !== this.provider.clientId)
      throw new ClientMismatchError()
  }

  #wrote(vault: Vault, snapshot: Snapshot | undefined, generation?: number): void {
    // A session is at hand anyway, and belongs to one request.
    if (!vault.journaled) return
    this.#recent.wrote(vault.id, snapshot && { ...snapshot, record: withhold(snapshot.record) }, generation)
  }
}
