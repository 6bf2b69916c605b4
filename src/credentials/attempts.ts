/** What this process knows of attempts beyond the record: since when it has seen them, and how its own went. */
import type { RefreshAttempt } from './record.js'

const MAXIMUM = 10_000

export class Attempts {
  readonly #monotonic: () => number
  readonly #known = new Map<string, { readonly since: number; readonly ended: boolean }>()

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  /** Milliseconds since this process first looked at an attempt. */
  watched(attempt: RefreshAttempt | undefined): number {
    if (!attempt) return 0
    const known = this.#known.get(attempt.id)
    if (known) return this.#monotonic() - known.since
    this.#note(attempt.id, false)
    return 0
  }

  /** Notes that an attempt of this process has ended without an answer, and nobody need wait for one. */
  end({ id }: RefreshAttempt): void {
    this.#note(id, true)
  }

  hasEnded(attempt: RefreshAttempt | undefined): boolean {
    return attempt !== undefined && this.#known.get(attempt.id)?.ended === true
  }

  #note(id: string, ended: boolean): void {
    if (this.#known.size >= MAXIMUM) this.#known.delete(this.#known.keys().next().value as string)
    this.#known.set(id, { since: this.#monotonic(), ended })
  }
}
