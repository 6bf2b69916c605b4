/**
 * The one owner of stored credentials. Everything that uses them, in a request or outside, gets its access token here.
 */
import { setTimeout } from 'node:timers/promises'
import { ClientMismatchError, CredentialsRequiredError, StoreUnavailableError } from '../errors.js'
import type { Provider } from '../provider/provider.js'
import { type Account, accountOf, type CredentialRecord } from './record.js'
import { isLive } from './refresh-state.js'
import { Refresher } from './refresher.js'
import type { Snapshot, Vault } from './vault.js'

/** What happened to stored credentials. */
export type CredentialsChange = 'authorized' | 'refreshed' | 'needs_reauthorization' | 'revoked'

export interface CredentialManagerOptions {
  readonly provider: Provider
  /** Seconds before expiry at which a new access token is fetched. Default 60. */
  readonly refreshBeforeExpiry?: number
  /** Whether an early refresh that takes long goes on behind the caller's back. Default `true`. */
  readonly backgroundRefresh?: boolean
  readonly onChange?: (vault: Vault, change: CredentialsChange, account: Account) => void
  /** Milliseconds from any start, never going back. Default `performance.now`. */
  readonly monotonic?: () => number
  /** Waits that many milliseconds. Default a timer. */
  readonly sleep?: (ms: number) => Promise<void>
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
const MAXIMUM_REMEMBERED = 10_000

export class CredentialManager {
  readonly provider: Provider
  readonly #early: number
  readonly #onChange: NonNullable<CredentialManagerOptions['onChange']>
  readonly #refresher: Refresher
  readonly #background: boolean
  readonly #sleep: (ms: number) => Promise<void>
  /** What was last read, for when the store cannot be reached. */
  readonly #remembered = new Map<string, Snapshot>()
  /** Until when an early refresh is not tried again, by access token. */
  readonly #resting = new Map<string, number>()

  constructor(options: CredentialManagerOptions) {
    this.provider = options.provider
    this.#early = (options.refreshBeforeExpiry ?? 60) * 1000
    this.#onChange = options.onChange ?? (() => {})
    this.#background = options.backgroundRefresh ?? true
    this.#sleep = options.sleep ?? ((ms) => setTimeout(ms, undefined, { ref: false }))
    this.#refresher = new Refresher({
      provider: options.provider,
      check: ({ record }) => this.#checkOwner(record),
      onWritten: (vault, snapshot, account, changed) => {
        this.#remember(vault, snapshot)
        if (changed) this.#onChange(vault, account.dead ? 'needs_reauthorization' : 'refreshed', account)
      },
      monotonic: options.monotonic,
      // These keep the process alive: what was received has yet to be written down.
      sleep: options.sleep ?? ((ms) => setTimeout(ms)),
    })
  }

  /**
   * What is stored. When the store cannot be reached: what it last said, as long as the access token in it works.
   *
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}
   */
  async load(vault: Vault): Promise<Snapshot | undefined> {
    try {
      const snapshot = await vault.read()
      if (snapshot) this.#checkOwner(snapshot.record)
      this.#remember(vault, snapshot)
      return snapshot
    } catch (error) {
      const last = this.#remembered.get(vault.id)
      const now = this.provider.clock()
      if (error instanceof StoreUnavailableError && last?.record.accounts.some((a) => isLive(a, now))) return last
      throw error
    }
  }

  /**
   * The same credentials with an access token that works, refreshed first if it has expired or is about to.
   *
   * @throws {CredentialsRequiredError} when only a person can help
   * @throws {ProviderUnavailableError} when a new token is needed and cannot be had now
   */
  async usable(vault: Vault, snapshot: Snapshot | undefined, options: UsableOptions = {}): Promise<Snapshot> {
    const account = accountOf(snapshot?.record, options.account)
    if (!snapshot || !account || account.dead) throw new CredentialsRequiredError()
    const now = this.provider.clock()
    const { accessToken } = account.tokens
    const live = isLive(account, now, options.rejected)
    if (live && !this.#isDue(account, now)) return snapshot
    try {
      // What is about to expire is treated as refused, so that whoever refreshed it meanwhile is believed.
      const rejected = live ? accessToken : options.rejected
      const refreshed = this.#refresher.refresh(vault, account.id, { rejected, patient: !live })
      if (!live || !this.#background || !vault.journaled) return await refreshed
      return await Promise.race([refreshed, this.#sleep(EARLY_PATIENCE).then(() => snapshot)])
    } catch (error) {
      // A token that still works is never made unusable by a refresh that was only early.
      if (!live || error instanceof CredentialsRequiredError) throw error
      if (this.#resting.size >= MAXIMUM_REMEMBERED) this.#resting.clear()
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
      this.#remember(vault, { record, generation })
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
    reduce: (record: CredentialRecord) => CredentialRecord | undefined,
  ): Promise<CredentialRecord | undefined> {
    for (;;) {
      const snapshot = await vault.read()
      if (!snapshot) break
      this.#checkOwner(snapshot.record)
      const rest = reduce(snapshot.record)
      const done = rest ? await vault.write(rest, snapshot.generation) : await vault.delete(snapshot.generation)
      if (done === false) continue
      this.#remember(vault, rest && { record: rest, generation: Number(done) })
      return rest
    }
    this.#remember(vault, undefined)
    return undefined
  }

  /** Tells listeners about a change that was made through `update` or `remove`. */
  announce(vault: Vault, change: CredentialsChange, account: Account): void {
    this.#onChange(vault, change, account)
  }

  /** Resolves when no refresh is under way: one that was sent must be answered and written down. */
  async close(): Promise<void> {
    await this.#refresher.settled()
  }

  #isDue({ tokens }: Account, now: number): boolean {
    if (tokens.expiresAt === undefined || tokens.refreshToken === undefined) return false
    // A short-lived token would otherwise be due from the moment it was issued.
    const early = Math.min(this.#early, (tokens.expiresAt - tokens.obtainedAt) / 2)
    // Jitter keeps processes that got their tokens together from refreshing them together.
    if (now < tokens.expiresAt - early * (1 - 0.1 * Math.random())) return false
    return now >= (this.#resting.get(tokens.accessToken) ?? 0)
  }

  /** A staging client on the production database must neither use nor overwrite what it finds there. */
  #checkOwner(record: CredentialRecord): void {
    if (record.issuer !== this.provider.issuer || record.clientId !== this.provider.clientId)
      throw new ClientMismatchError()
  }

  #remember(vault: Vault, snapshot: Snapshot | undefined): void {
    if (!vault.journaled) return
    this.#remembered.delete(vault.id)
    if (!snapshot) return
    if (this.#remembered.size >= MAXIMUM_REMEMBERED) {
      this.#remembered.delete(this.#remembered.keys().next().value as string)
    }
    const accounts = snapshot.record.accounts.map(({ tokens: { refreshToken: _, ...tokens }, ...account }) => ({
      ...account,
      tokens,
    }))
    this.#remembered.set(vault.id, { ...snapshot, record: { ...snapshot.record, accounts } })
  }
}
