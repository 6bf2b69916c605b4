/** Notices when many grants die within a short time: then something is wrong with us or with the provider. */

/** How many, within how many seconds. People revoke one by one; a mistake takes everybody. */
const THRESHOLD = 10
const SECONDS = 60

export class Burst {
  readonly #clock: () => number
  readonly #alarm: (count: number, seconds: number) => void
  #times: number[] = []

  /** @param alarm called once for a burst, when it is noticed */
  constructor(clock: () => number, alarm: (count: number, seconds: number) => void) {
    this.#clock = clock
    this.#alarm = alarm
  }

  add(): void {
    const now = this.#clock()
    this.#times = this.#times.filter((time) => now - time < SECONDS * 1000)
    this.#times.push(now)
    if (this.#times.length < THRESHOLD) return
    this.#alarm(this.#times.length, SECONDS)
    this.#times = []
  }
}
