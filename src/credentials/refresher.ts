/**
 * Sends refresh tokens, each by one process only. See `refresh-state.ts` for when that is allowed; this file carries it
 * out: claim with compare-and-set, send, write down, and what to do when any of it fails.
 */
import { randomUUID } from 'node:crypto'
import {
  ClientRejectedError,
  CredentialsRequiredError,
  ExchangeFailedError,
  type OAuth2ClientError,
  ProviderUnavailableError,
  StoreUnavailableError,
} from '../errors.js'
import { refreshTokenGrant } from '../flows/refresh-token.js'
import { revokeToken } from '../flows/revocation.js'
import { isWellFormedToken, type TokenSet } from '../flows/token-set.js'
import { ProviderFailure } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import type { Provider } from '../provider/provider.js'
import { type Account, accountOf, type CredentialRecord, type RefreshAttempt, withAccount } from './record.js'
import { ABANDONED_AFTER, decideRefresh, type RefreshContext } from './refresh-state.js'
import { dead, hashToken, merge, withRefreshToken } from './refreshed.js'
import type { Snapshot, Vault } from './vault.js'

export interface RefresherOptions {
  readonly provider: Provider
  /** Checks a record that was read; throws when it is not ours to use. */
  readonly check: (snapshot: Snapshot) => void
  /** Told of every write; `changed` when it changed what the credentials are good for. */
  readonly onWritten: (vault: Vault, snapshot: Snapshot, account: Account, changed: boolean) => void
  readonly monotonic?: (() => number) | undefined
  readonly sleep: (ms: number) => Promise<void>
}

/** A claim must be used at once: whoever was suspended in between cannot know that it still holds. */
const CLAIM_LIFETIME = 2_000
/** Milliseconds between looks at somebody else's attempt. */
const POLL_INTERVAL = 150
/** How often what was received is written: over about nine seconds. */
const WRITE_ATTEMPTS = 6
const MAXIMUM_WATCHED = 10_000

export interface RefreshRequest extends Pick<RefreshContext, 'rejected'> {
  /** Whether to wait for somebody else's refresh. Whoever still has a token that works need not. */
  readonly patient: boolean
}

export class Refresher {
  readonly #provider: Provider
  readonly #check: RefresherOptions['check']
  readonly #onWritten: RefresherOptions['onWritten']
  readonly #monotonic: () => number
  readonly #sleep: (ms: number) => Promise<void>
  readonly #flights = new Map<string, Promise<Snapshot>>()
  /** When this process first saw an attempt, by its id, and whether it was its own and has ended. */
  readonly #attempts = new Map<string, { since: number; ended: boolean }>()

  constructor(options: RefresherOptions) {
    this.#provider = options.provider
    this.#check = options.check
    this.#onWritten = options.onWritten
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#sleep = options.sleep
  }

  /** Everybody in this process who wants a new token for the same account shares one refresh. */
  refresh(vault: Vault, accountId: string, request: RefreshRequest): Promise<Snapshot> {
    // Without a journal the flight is all that keeps two from sending: then even those who would not wait share it.
    const key = `${request.patient || !vault.journaled}\n${vault.id}\n${accountId}`
    let flight = this.#flights.get(key)
    if (!flight) {
      // Bound to no request: a caller that goes away must not abort what was sent.
      flight = this.#fly(vault, accountId, request).finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
    }
    return flight
  }

  /** Resolves when no refresh is under way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values())
  }

  async #fly(vault: Vault, accountId: string, request: RefreshRequest): Promise<Snapshot> {
    const giveUpAt = this.#monotonic() + this.#provider.timeout + CLAIM_LIFETIME
    for (;;) {
      const snapshot = await vault.read()
      const account = accountOf(snapshot?.record, accountId)
      if (!snapshot || !account) throw new CredentialsRequiredError()
      this.#check(snapshot)
      const watched = this.#watch(account)
      const decision = decideRefresh(account, {
        now: this.#provider.clock(),
        rejected: request.rejected,
        rotation: this.#provider.rotation,
        age: snapshot.age ?? watched,
        watched,
      })
      switch (decision) {
        case 'use':
          return snapshot
        case 'reauthorize':
          throw new CredentialsRequiredError()
        case 'wait':
          if (!request.patient || this.#ended(account) || this.#monotonic() >= giveUpAt) {
            throw unavailable((ABANDONED_AFTER - (snapshot.age ?? 0)) / 1000)
          }
          await this.#sleep(POLL_INTERVAL)
          break
        default: {
          const refreshed = await this.#claimAndSend(vault, snapshot, account, decision === 'take_over')
          if (refreshed) return refreshed
        }
      }
    }
  }

  /** `undefined` when somebody else wrote first, or the claim went stale before it could be used. */
  async #claimAndSend(
    vault: Vault,
    { record, generation }: Snapshot,
    account: Account,
    takeover: boolean,
  ): Promise<Snapshot | undefined> {
    // Whatever has to be looked up is looked up before the claim: from there on, time counts.
    await this.#provider.configuration()
    const refreshToken = account.tokens.refreshToken as string
    const attempt = { id: randomUUID(), hash: hashToken(refreshToken) }
    const claimedAccount = { ...account, attempt }
    const claimedAt = this.#monotonic()
    // A session has no compare-and-set: there, one flight a process is all that can be promised.
    const claim = vault.journaled ? await vault.write(withAccount(record, claimedAccount), generation) : generation
    if (claim === false) return undefined
    if (this.#monotonic() - claimedAt > CLAIM_LIFETIME) {
      const { attempt: _, ...unclaimed } = claimedAccount
      await vault.write(withAccount(record, unclaimed), claim)
      return undefined
    }
    const claimed: Snapshot = { record: withAccount(record, claimedAccount), generation: claim }
    const exchange: Exchange = {}
    try {
      const acceptIdToken = account.claims?.sub !== undefined
      const { idToken, ...answered } = await refreshTokenGrant(this.#provider, refreshToken, {
        acceptIdToken,
        exchange,
      })
      // A session has no room for it, and nothing that would use it.
      const tokens: TokenSet = idToken !== undefined && vault.journaled ? { ...answered, idToken } : answered
      const changed = tokens.claims !== undefined && tokens.claims.sub !== account.claims?.sub
      const change = (current: Account) =>
        changed ? dead(current, 'identity_changed') : merge(this.#provider, current, tokens)
      const snapshot = await this.#commit(vault, claimed, claimedAccount, change, changed ? undefined : tokens)
      if (changed) throw new CredentialsRequiredError()
      return snapshot
    } catch (error) {
      if (!(error instanceof ProviderFailure)) throw error
      await this.#writeFailure(vault, claimed, claimedAccount, error, exchange, takeover)
      throw this.#answerTo(error)
    }
  }

  /**
   * Writes what a refresh brought, over whatever was written meanwhile, unless that made it pointless.
   *
   * @param received tokens of the answer; without any, only the writer of the attempt in the record may write
   */
  async #commit(
    vault: Vault,
    claimed: Snapshot,
    before: Account,
    change: (current: Account) => Account,
    received?: Partial<Pick<TokenSet, 'accessToken' | 'refreshToken'>>,
  ): Promise<Snapshot> {
    const { id, hash } = before.attempt as RefreshAttempt
    let current = claimed
    for (;;) {
      const account = accountOf(current.record, before.id) as Account
      // An authorization that brought no refresh token of its own leaves this one in place: its other tokens are newer.
      const superseded = account.tokens.accessToken !== before.tokens.accessToken
      const next = superseded ? withRefreshToken(account, received?.refreshToken) : change(account)
      const record = withAccount(current.record, next)
      const written = await this.#writeReceived(vault, record, current.generation, received !== undefined)
      if (written !== false) {
        const snapshot = { record, generation: written }
        this.#onWritten(vault, snapshot, next, next.dead !== undefined || next.tokens !== account.tokens)
        return snapshot
      }
      const read = await vault.read()
      const found = accountOf(read?.record, before.id)
      if (!read || !found) {
        // Revoked in the meantime, and that wins: what was received must not stay alive unseen.
        const token = received?.refreshToken ?? received?.accessToken
        if (token !== undefined) await revokeToken(this.#provider, token)
        throw new CredentialsRequiredError()
      }
      const same = found.tokens.refreshToken !== undefined && hashToken(found.tokens.refreshToken) === hash
      // Another authorization replaced the grant, or another process took over: what it writes is newer than this.
      if (!same || !(received || found.attempt?.id === id)) return read
      current = read
    }
  }

  /** A rotated refresh token exists nowhere else: a store that stumbles is given some time before it is lost. */
  async #writeReceived(vault: Vault, record: CredentialRecord, generation: number, received: boolean) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await vault.write(record, generation)
      } catch (error) {
        if (!received || !(error instanceof StoreUnavailableError) || attempt === WRITE_ATTEMPTS) throw error
        await this.#sleep(POLL_INTERVAL * 2 ** attempt)
      }
    }
  }

  async #writeFailure(
    vault: Vault,
    claimed: Snapshot,
    account: Account,
    failure: ProviderFailure,
    exchange: Exchange,
    takeover: boolean,
  ): Promise<void> {
    const rotated = exchange.body?.refresh_token
    if (failure.kind === 'unusable' && isWellFormedToken(rotated) && rotated !== account.tokens.refreshToken) {
      // Whatever is wrong with the rest of the answer, the old refresh token is gone and this is the new one.
      const change = (current: Account) => withRefreshToken(current, rotated)
      await this.#commit(vault, claimed, account, change, { refreshToken: rotated })
      return
    }
    if (failure.kind === 'invalid_grant') {
      const lost = takeover && this.#provider.rotation !== 'none'
      await this.#commit(vault, claimed, account, (current) => dead(current, lost ? 'lost_rotation' : 'refused'))
      return
    }
    const inDoubt = failure.kind === 'in_doubt' || failure.kind === 'unusable'
    if (inDoubt && vault.journaled && this.#provider.rotation !== 'none') {
      // The refresh token may have been used up: the attempt stays in the record as a warning to everybody.
      const { id } = account.attempt as RefreshAttempt
      this.#attempts.set(id, { since: this.#monotonic(), ended: true })
      return
    }
    // A session holds no attempt that would have to go.
    if (vault.journaled) await this.#commit(vault, claimed, account, (current) => withRefreshToken(current, undefined))
  }

  #answerTo(failure: ProviderFailure): Error {
    switch (failure.kind) {
      case 'invalid_grant':
        return new CredentialsRequiredError({ cause: failure })
      case 'client':
        return new ClientRejectedError({ cause: failure })
      case 'refused':
        return new ExchangeFailedError({ cause: failure })
      default:
        return unavailable(failure.retryAfter ?? 5, failure)
    }
  }

  #watch({ attempt }: Account): number {
    if (!attempt) return 0
    const known = this.#attempts.get(attempt.id)
    if (known) return this.#monotonic() - known.since
    if (this.#attempts.size >= MAXIMUM_WATCHED) this.#attempts.delete(this.#attempts.keys().next().value as string)
    this.#attempts.set(attempt.id, { since: this.#monotonic(), ended: false })
    return 0
  }

  #ended({ attempt }: Account): boolean {
    return attempt !== undefined && this.#attempts.get(attempt.id)?.ended === true
  }
}

/** A 503 that says when to come back. `seconds` is rounded up to at least one. */
export function unavailable(seconds: number, cause?: unknown): OAuth2ClientError {
  const error = new ProviderUnavailableError(cause === undefined ? undefined : { cause })
  error.headers = { 'retry-after': String(Math.max(1, Math.ceil(seconds))) }
  return error
}
