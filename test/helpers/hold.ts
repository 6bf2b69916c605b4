/** Requests that wait until the test lets them go on: things overlap without sleeping. */
export interface Hold {
  /** How many are waiting. */
  readonly waiting: number
  /** Resolves as soon as that many are waiting. */
  arrived(count?: number): Promise<void>
  /** Lets all of them go on; later ones are not held any more. */
  release(): void
}

export class Gate implements Hold {
  readonly #released: Promise<void>
  #resolve: () => void = () => {}
  #open = false
  #waiting = 0
  #watchers: { count: number; resolve: () => void }[] = []

  constructor() {
    this.#released = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  get waiting(): number {
    return this.#open ? 0 : this.#waiting
  }

  get isOpen(): boolean {
    return this.#open
  }

  async pass(): Promise<void> {
    if (this.#open) return
    this.#waiting += 1
    for (const { count, resolve } of this.#watchers) if (this.#waiting >= count) resolve()
    await this.#released
  }

  arrived(count = 1): Promise<void> {
    if (this.#waiting >= count) return Promise.resolve()
    return new Promise((resolve) => this.#watchers.push({ count, resolve }))
  }

  release(): void {
    this.#open = true
    this.#resolve()
  }
}
