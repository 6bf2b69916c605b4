/** What this process knows of attempts beyond the record: since when it has seen them, and how its own went. */
import { BoundedMap } from '../../bounded-map.js'
import type { Account, RefreshAttempt } from '../record.js'

const KEPT = 10_000

/** How an attempt of this process went, where it knows more than the record says: no answer came, or nothing was ever sent. */
type End = 'unanswered' | 'unsent'

export class Attempts {
  readonly #monotonic: () => number
  readonly #known = new BoundedMap<string, { readonly since: number; readonly end: End | undefined }>(KEPT)

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  /** Milliseconds since this process first looked at an attempt. */
  watched(attempt: RefreshAttempt | undefined): number {
    if (!attempt) return 0
    const known = this.#known.get(attempt.id)
    if (known) return this.#monotonic() - known.since
    this.#note(attempt.id, undefined)
    return 0
  }

  /** Notes that nobody need wait for an attempt of this process. */
  end({ id }: RefreshAttempt, end: End): void {
    this.#note(id, end)
  }

  /** Whether no answer will come to an attempt any more. */
  hasEnded(attempt: RefreshAttempt | undefined): boolean {
    return this.#endOf(attempt) === 'unanswered'
  }

  /**
   * The account as it was before this process tried to claim it and could not know whether it had: the store failed, after
   * writing or before. Nothing was sent, so there is nothing to wait for.
   */
  withoutUnsent(account: Account): Account {
    if (this.#endOf(account.attempt) !== 'unsent') return account
    const { attempt: _, ...unclaimed } = account
    return unclaimed
  }

  #endOf(attempt: RefreshAttempt | undefined): End | undefined {
    return attempt && this.#known.get(attempt.id)?.end
  }

  #note(id: string, end: End | undefined): void {
    this.#known.set(id, { since: this.#monotonic(), end })
  }
}
