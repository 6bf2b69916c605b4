/**
 * How the last flow of this browser ended, for a minute: what keeps a guard from sending people round in circles. A cookie
 * of its own, because a session that does not come back is the very thing it has to notice.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { KeyRing } from '../keys/key-ring.js'
import type { ScopeSet } from '../provider/scopes.js'
import type { CookieJar } from './cookies.js'

/** What ended. */
export interface Outcome {
  /** Absent where they did not fit: then it may have been about any. */
  readonly scopes?: readonly string[]
  /** The code of the error it ended with; absent when it succeeded. */
  readonly code?: string
  /** Milliseconds since the epoch. */
  readonly endedAt: number
}

/** Seconds. */
const LIFETIME = 60

export class OutcomeCookie {
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number
  readonly #client: string

  constructor(keys: KeyRing, cookies: CookieJar, clock: () => number, client: string) {
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
    this.#client = client
  }

  async save(reply: FastifyReply, outcome: Omit<Outcome, 'endedAt'>): Promise<void> {
    const text = JSON.stringify({ ...outcome, endedAt: this.#clock() })
    const value = await this.#keys.seal('outcome', [this.#client], text)
    // Scopes can be many; without them the cookie still says that something ended.
    this.#cookies.set(reply, this.#name, value.length <= 2_000 ? value : await this.#short(outcome), LIFETIME)
  }

  /** The last outcome, if it is recent. Costs nothing while there is none. */
  async read(request: FastifyRequest): Promise<Outcome | undefined> {
    const value = this.#cookies.get(request, this.#name)
    if (!value) return undefined
    try {
      const outcome: Outcome = JSON.parse(await this.#keys.open('outcome', [this.#client], value))
      return this.#clock() - outcome.endedAt < LIFETIME * 1000 ? outcome : undefined
    } catch {
      return undefined
    }
  }

  /** Forgets the outcome once its effect was seen, so that losing the credentials later is not taken for a loop. */
  async settle(
    request: FastifyRequest,
    reply: FastifyReply,
    scopes: ScopeSet,
    granted: readonly string[],
  ): Promise<void> {
    if (!this.#cookies.get(request, this.#name)) return
    const outcome = await this.read(request)
    if (outcome?.code === undefined || scopes.covers(granted, outcome.scopes ?? [])) this.clear(request, reply)
  }

  clear(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#cookies.get(request, this.#name)) this.#cookies.clear(reply, this.#name)
  }

  get #name(): string {
    return `ended.${this.#client}`
  }

  #short({ code }: Omit<Outcome, 'endedAt'>): Promise<string> {
    const text = JSON.stringify({ ...(code === undefined ? {} : { code }), endedAt: this.#clock() })
    return this.#keys.seal('outcome', [this.#client], text)
  }
}
