/**
 * Sends refresh tokens, each by one process only. See `state.ts` for when that is allowed; this file carries it
 * out: claim with compare-and-set, send, write down, and what to do when any of it fails.
 */
import { randomUUID } from 'node:crypto'
import {
  ClientRejectedError,
  CredentialsRequiredError,
  ExchangeFailedError,
  type OAuth2ClientError,
  ProviderUnavailableError,
} from '../../errors.js'
import { refreshTokenGrant } from '../../flows/refresh-token.js'
import { ProviderFailure } from '../../provider/failure.js'
import type { Exchange } from '../../provider/http.js'
import type { Provider } from '../../provider/provider.js'
import type { Watch } from '../../telemetry/watch.js'
import { type Account, accountOf, type CredentialRecord, withAccount } from '../record.js'
import type { Snapshot, Vault } from '../vault.js'
import { Attempts } from './attempts.js'
import { Backoff, type Turn } from './backoff.js'
import { type CommitOptions, commit } from './commit.js'
import { type Lease, takeLease } from './lease.js'
import {
  ABANDONED_AFTER,
  CLAIM_LIFETIME,
  type Claim,
  claim,
  claimStands,
  decideRefresh,
  hashToken,
  nextLookAfter,
  outcomeOf,
  type RefreshAnswer,
  type RefreshContext,
} from './state.js'

export interface RefresherOptions extends CommitOptions {
  /** Checks a record that was read; throws when it is not ours to use. */
  readonly check: (snapshot: Snapshot) => void
  readonly monotonic?: (() => number) | undefined
  readonly watch?: Watch | undefined
}

export interface RefreshRequest extends Pick<RefreshContext, 'rejected'> {
  /** Whether to wait for somebody else's refresh. Whoever still has a token that works need not. */
  readonly patient: boolean
}

export class Refresher {
  readonly #options: RefresherOptions
  readonly #provider: Provider
  readonly #monotonic: () => number
  readonly #attempts: Attempts
  readonly #backoff: Backoff
  readonly #flights = new Map<string, Promise<Snapshot>>()
  readonly #releases = new Set<Promise<void>>()
  #closing = false

  constructor(options: RefresherOptions) {
    this.#options = options
    this.#provider = options.provider
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#attempts = new Attempts(this.#monotonic)
    this.#backoff = new Backoff(this.#monotonic)
  }

  /** Everybody in this process who wants a new token for the same account shares one refresh. */
  refresh(vault: Vault, accountId: string, request: RefreshRequest): Promise<Snapshot> {
    // Without a journal the flight is all that keeps two from sending: then even those who would not wait share it.
    const key = `${request.patient || !vault.journaled}\n${vault.id}\n${accountId}`
    const joined = this.#flights.get(key)
    if (joined) {
      const refused = ({ record }: Snapshot) => accountOf(record, accountId)?.tokens.accessToken === request.rejected
      // What does for whoever began it may be the very token that this one was refused with.
      return joined.then((snapshot) => (refused(snapshot) ? this.refresh(vault, accountId, request) : snapshot))
    }
    // Bound to no request: a caller that goes away must not abort what was sent.
    const fly = () => this.#fly(vault, accountId, request)
    const flight = (this.#options.watch?.refresh(fly) ?? fly()).finally(() => this.#flights.delete(key))
    this.#flights.set(key, flight)
    return flight
  }

  /** Resolves when what was sent is answered and written down. From then on nobody waits for other processes. */
  async settled(): Promise<void> {
    this.#closing = true
    await Promise.allSettled(this.#flights.values())
    await Promise.all(this.#releases)
  }

  async #fly(vault: Vault, accountId: string, request: RefreshRequest): Promise<Snapshot> {
    const startedAt = this.#monotonic()
    const patience = this.#provider.timeout + CLAIM_LIFETIME
    for (;;) {
      const snapshot = await vault.read()
      const found = accountOf(snapshot?.record, accountId)
      if (!snapshot || !found) throw new CredentialsRequiredError()
      this.#options.check(snapshot)
      const account = this.#attempts.withoutUnsent(found)
      const watched = this.#attempts.watched(account.attempt)
      const decision = decideRefresh(account, {
        now: this.#provider.clock(),
        rejected: request.rejected,
        rotation: this.#provider.rotation,
        grace: this.#provider.grace,
        timeout: this.#provider.timeout,
        ended: this.#attempts.hasEnded(account.attempt),
        age: snapshot.age ?? watched,
        watched,
      })
      if (decision === 'use') return snapshot
      if (decision === 'reauthorize') throw new CredentialsRequiredError()
      const waited = this.#monotonic() - startedAt
      const patient = request.patient && !this.#closing && waited < patience
      if (decision !== 'wait') {
        // A lease that nobody seems to make use of is not worth more than a wait.
        const result = await this.#try(vault, snapshot, account, request.patient && waited >= patience)
        if (result === 'again') continue
        if (result !== 'leased') return result
      }
      if (!patient || (decision === 'wait' && this.#attempts.hasEnded(account.attempt))) {
        throw unavailable(account.attempt ? (ABANDONED_AFTER - (snapshot.age ?? 0)) / 1000 : 1)
      }
      await this.#options.sleep(nextLookAfter(waited, Math.random()))
    }
  }

  /** `again` when it has to be decided anew, `leased` when somebody else is about to try. */
  async #try(
    vault: Vault,
    snapshot: Snapshot,
    account: Account,
    unleased: boolean,
  ): Promise<Snapshot | 'again' | 'leased'> {
    const turn = this.#backoff.turn(hashToken(account.tokens.refreshToken as string))
    if ('failure' in turn) throw answerTo(turn.failure, turn.seconds)
    try {
      const lease = await takeLease(vault, account.id)
      if (!lease && !unleased) return 'leased'
      try {
        return (await this.#claimAndSend(vault, snapshot, account, turn)) ?? 'again'
      } finally {
        this.#release(lease)
      }
    } finally {
      turn.end()
    }
  }

  /** Behind the back of whoever waits for the new token, and not of whoever waits for the end. */
  #release(lease: Lease | undefined): void {
    if (!lease) return
    const released = lease.release().then(() => void this.#releases.delete(released))
    this.#releases.add(released)
  }

  /** `undefined` when it has to be decided anew: somebody else wrote first, or the claim went stale. */
  async #claimAndSend(
    vault: Vault,
    { record, generation }: Snapshot,
    before: Account,
    turn: Turn,
  ): Promise<Snapshot | undefined> {
    // Whatever has to be looked up is looked up before the claim: from there on, time counts.
    await this.#provider.configuration().catch((error: unknown) => {
      if (error instanceof ProviderUnavailableError) turn.answered(new ProviderFailure('unsent', {}, error))
      throw error
    })
    const account = claim(before, randomUUID(), this.#provider.clock())
    const startedAt = this.#monotonic()
    const claimedRecord = withAccount(record, account)
    // A session has no compare-and-set: there, one flight a process is all that can be promised.
    const written = vault.journaled ? await this.#write(vault, claimedRecord, generation, account) : generation
    if (written === false) return undefined
    const claimed = { record: claimedRecord, generation: written }
    if (!claimStands(startedAt, this.#monotonic())) {
      this.#attempts.end(account.attempt, 'unsent')
      await commit({ vault, claimed, account, outcome: { kind: 'released' } }, this.#options)
      return undefined
    }
    const { answer, failure } = await this.#send(vault, account)
    turn.answered(failure)
    const outcome = outcomeOf(answer, account, this.#provider.rotation)
    if (outcome.kind === 'in_doubt') {
      // The attempt stays in the record as a warning to everybody.
      this.#attempts.end(account.attempt, 'unanswered')
      throw answerTo(failure)
    }
    // A session holds no attempt that would have to go.
    if (outcome.kind === 'released' && !vault.journaled) throw answerTo(failure)
    const snapshot = await commit({ vault, claimed, account, outcome }, this.#options)
    if (!snapshot) return undefined
    if (outcome.kind === 'dead') throw new CredentialsRequiredError({ cause: failure })
    if (outcome.kind === 'tokens') return snapshot
    throw answerTo(failure)
  }

  async #write(
    vault: Vault,
    record: CredentialRecord,
    generation: number,
    { attempt }: Claim,
  ): Promise<number | false> {
    try {
      return await vault.write(record, generation)
    } catch (error) {
      this.#attempts.end(attempt, 'unsent')
      throw error
    }
  }

  async #send(vault: Vault, account: Account): Promise<{ answer: RefreshAnswer; failure?: ProviderFailure }> {
    const exchange: Exchange = {}
    try {
      const { refreshToken, dpopKey, refreshDpopKey = dpopKey } = account.tokens
      const { idToken, ...tokens } = await refreshTokenGrant(this.#provider, refreshToken as string, {
        acceptIdToken: account.claims?.sub !== undefined,
        exchange,
        // Without one, the tokens are from before keys were asked for, and stay so until the person signs in again.
        dpopKey: refreshDpopKey,
      })
      // A session has no room for it, and nothing that would use it.
      return { answer: { tokens: idToken !== undefined && vault.journaled ? { ...tokens, idToken } : tokens } }
    } catch (failure) {
      if (!(failure instanceof ProviderFailure)) throw failure
      return { answer: { failure: failure.kind, rotated: exchange.body?.refresh_token }, failure }
    }
  }
}

/** @param seconds for which nothing is sent after this failure, if so */
function answerTo(failure: ProviderFailure | undefined, seconds?: number): Error {
  switch (failure?.kind) {
    case 'client':
      return withRetryAfter(new ClientRejectedError({ cause: failure }), seconds)
    case 'refused':
      return withRetryAfter(new ExchangeFailedError({ cause: failure }), seconds)
    default:
      return unavailable(seconds ?? failure?.retryAfter ?? 5, failure)
  }
}

/** A 503 that says when to come back. `seconds` is rounded up to at least one. */
export function unavailable(seconds: number, cause?: unknown): OAuth2ClientError {
  return withRetryAfter(new ProviderUnavailableError(cause === undefined ? undefined : { cause }), seconds)
}

function withRetryAfter(error: OAuth2ClientError, seconds: number | undefined): OAuth2ClientError {
  if (seconds !== undefined) error.headers = { 'retry-after': String(Math.max(1, Math.ceil(seconds))) }
  return error
}
