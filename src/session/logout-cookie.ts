/**
 * Where a browser that signs out at the provider goes afterwards. A cookie of its own, because the session has just ended; that
 * it comes back is what says that the sign-out began in this browser.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { KeyRing } from '../keys/key-ring.js'
import type { CookieJar } from './cookies.js'
import { hashState, same } from './flow-cookie.js'

interface PendingLogout {
  readonly hash: string
  readonly returnUrl: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** Seconds that a person may take at the provider. */
const LIFETIME = 600

export class LogoutCookie {
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

  /** The last sign-out of a browser counts. */
  async save(reply: FastifyReply, state: string, returnUrl: string): Promise<void> {
    const pending: PendingLogout = { hash: hashState(state), returnUrl, startedAt: this.#clock() }
    const value = this.#keys.seal('logout', [this.#client], JSON.stringify(pending))
    this.#cookies.set(reply, this.#name, value, LIFETIME)
  }

  /** Where to go, if it is this browser's sign-out that a state answers: once. */
  async take(request: FastifyRequest, reply: FastifyReply, state: unknown): Promise<string | undefined> {
    const value = this.#cookies.get(request, this.#name)
    if (!value || typeof state !== 'string') return undefined
    let pending: PendingLogout
    try {
      pending = JSON.parse(this.#keys.open('logout', [this.#client], value))
    } catch {
      return undefined
    }
    if (!same(hashState(state), pending.hash)) return undefined
    this.#cookies.clear(reply, this.#name)
    return this.#clock() - pending.startedAt < LIFETIME * 1000 ? pending.returnUrl : undefined
  }

  get #name(): string {
    return `logout.${this.#client}`
  }
}
