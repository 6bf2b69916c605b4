/**
 * Configurations of `openid-client`, each lent to one exchange at a time: so whatever passes through its `fetch` is known to
 * belong to that exchange. An `AsyncLocalStorage` would say so too, but on Node before 24 it makes every promise of the whole
 * app dearer from its first use on.
 */
import type { Configuration } from 'openid-client'
import type { Exchange } from './http.js'

/** Beyond these, what a burst of exchanges made is not kept. */
const MAXIMUM_FREE = 64

interface Line {
  readonly configuration: Configuration
  exchange: Exchange | undefined
}

export class Lines {
  readonly #make: (current: () => Exchange | undefined) => Promise<Configuration>
  readonly #free: Line[] = []

  /** @param make a configuration whose `fetch` asks `current` which exchange a request belongs to */
  constructor(make: (current: () => Exchange | undefined) => Promise<Configuration>) {
    this.#make = make
  }

  /** Runs `use` so that `exchange` afterwards tells what the provider answered. */
  async lend<T>(exchange: Exchange, use: (configuration: Configuration) => Promise<T>): Promise<T> {
    const line = this.#free.pop() ?? (await this.#open())
    line.exchange = exchange
    try {
      return await use(line.configuration)
    } finally {
      line.exchange = undefined
      if (this.#free.length < MAXIMUM_FREE) this.#free.push(line)
    }
  }

  async #open(): Promise<Line> {
    let line: Line | undefined
    const configuration = await this.#make(() => line?.exchange)
    line = { configuration, exchange: undefined }
    return line
  }
}
