/** Notices when many grants die within a short time: then something is wrong with us or with the provider. */

/** How many, within how many seconds. People revoke one by one; a mistake takes everybody. */
const THRESHOLD = 10
const SECONDS = 60

export class Burst {
  readonly #clock: () => number
  readonly #alarm: (count: number, seconds: number) => void
  #times: number[] = []
  #alarmedAt: number | undefined

  /** @param alarm called when a burst is noticed, and for one that goes on, once in that many seconds */
  constructor(clock: () => number, alarm: (count: number, seconds: number) => void) {
    this.#clock = clock
    this.#alarm = alarm
  }

  add(): void {
    const now = this.#clock()
    // One mistake that takes thousands is one alarm, not hundreds.
    if (this.#alarmedAt !== undefined && Math.abs(now - this.#alarmedAt) < SECONDS * 1000) return
    this.#times = this.#times.filter((time) => now - time < SECONDS * 1000)
    this.#times.push(now)
    if (this.#times.length < THRESHOLD) return
    this.#alarmedAt = now
    this.#alarm(this.#times.length, SECONDS)
    this.#times = []
  }
}
