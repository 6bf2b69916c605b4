/** Leaves a provider that is down alone for a while, and a refresh token that it keeps refusing. In memory, per process. */
import { BoundedMap } from '../../bounded-map.js'
import type { FailureKind, ProviderFailure } from '../../provider/failure.js'

/**
 * Failures in a row after which a provider is taken to be down, and its `Retry-After` is more than a word to whoever asked. A
 * few are no outage: people who try again a moment later are better served by trying.
 */
export const OUTAGES = 10
/** Milliseconds of the first rest, doubled each time that it turns out to have been too short. */
const SHORTEST_REST = 1_000
/** Milliseconds. Also of what a provider may ask for: what it cannot know is how much depends on it. */
const LONGEST_REST = 60_000
/** A part of each rest by which it may be longer: processes that failed together do not come back together. */
const JITTER = 0.25

/** Refusals of one refresh token after which it rests, and for how many milliseconds. */
const REFUSALS = 3
const REFUSAL_REST = 10_000
const KEPT = 10_000

/** Failures that are not about the grant: the provider's, or those of our registration there. */
const OUTAGE: readonly FailureKind[] = ['unsent', 'in_doubt', 'rate_limited', 'client']

/** Why nothing is sent. */
export interface Rest {
  /** What the provider said last. */
  readonly failure: ProviderFailure
  /** Seconds until it can be tried again. */
  readonly seconds: number
}

/** Leave to send one refresh token once. */
export interface Turn {
  /** Tells what came of it. */
  answered(failure?: ProviderFailure): void
  /** Gives it back, whether or not it was used. */
  end(): void
}

export class Backoff {
  readonly #monotonic: () => number
  #outages = 0
  /** How often a rest was too short. */
  #level = 0
  /** Where there was one that is not known to be over, its end: from then on one at a time may try. */
  #rest: { readonly until: number; readonly failure: ProviderFailure } | undefined
  #trying = false
  readonly #refused = new BoundedMap<string, { times: number; until: number; failure: ProviderFailure }>(KEPT)

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  /** @param hash of the refresh token */
  turn(hash: string): Turn | Rest {
    const now = this.#monotonic()
    const refused = this.#refused.get(hash)
    if (refused && now < refused.until) return { failure: refused.failure, seconds: (refused.until - now) / 1000 }
    const rest = this.#rest
    if (rest && (now < rest.until || this.#trying)) {
      return { failure: rest.failure, seconds: Math.max(0, rest.until - now) / 1000 }
    }
    const first = rest !== undefined
    if (first) this.#trying = true
    return {
      answered: (failure) => {
        this.#noteProvider(failure, first)
        this.#noteGrant(hash, failure)
      },
      end: () => {
        if (first) this.#trying = false
      },
    }
  }

  #noteProvider(failure: ProviderFailure | undefined, first: boolean): void {
    if (failure?.kind === 'unusable') return
    if (!failure || !OUTAGE.includes(failure.kind)) {
      this.#outages = 0
      this.#level = 0
      this.#rest = undefined
      return
    }
    this.#outages += 1
    if (this.#outages < OUTAGES) return
    let ms = asked(failure)
    // Those that were under way when it began say nothing about how long it takes.
    if (first || !this.#rest) {
      const rest = Math.min(SHORTEST_REST * 2 ** this.#level, LONGEST_REST / (1 + JITTER))
      ms = Math.max(ms, rest * (1 + Math.random() * JITTER))
      this.#level += 1
    }
    if (ms > 0) this.#rest = { until: Math.max(this.#monotonic() + ms, this.#rest?.until ?? 0), failure }
  }

  #noteGrant(hash: string, failure: ProviderFailure | undefined): void {
    const times = (this.#refused.get(hash)?.times ?? 0) + 1
    if (failure && OUTAGE.includes(failure.kind)) return
    if (failure?.kind !== 'refused') {
      this.#refused.delete(hash)
      return
    }
    const until = times < REFUSALS ? 0 : this.#monotonic() + REFUSAL_REST
    this.#refused.set(hash, { times, until, failure })
  }
}

/** Milliseconds that the provider wants to be left alone for. RFC 6585 section 4, RFC 9110 section 15.6.4. */
function asked({ kind, status, retryAfter = 0 }: ProviderFailure): number {
  return kind === 'rate_limited' || status === 503 ? Math.min(retryAfter * 1000, LONGEST_REST) : 0
}
