/** Logout tokens that were acted on: each once, in whatever process. OpenID Connect Back-Channel Logout 1.0 section 2.6. */
import { createHash } from 'node:crypto'
import { LOGOUT_TOKENS } from '../credentials/upkeep/markers.js'
import { reach } from '../credentials/vault.js'
import type { CredentialStore } from '../storage/storage.js'

/** Milliseconds after which a token is not accepted any more, whatever it says of itself; and for which it is remembered. */
export const TOKEN_LIFETIME = 86_400_000
/** By how much clocks may differ, and then some. */
const MARGIN = 300_000
const MAXIMUM = 10_000

export class SeenTokens {
  readonly #store: CredentialStore | undefined
  readonly #prefix: string
  readonly #clock: () => number
  /** When each came, oldest first. Only the provider can sign one, so nobody else can fill this. */
  readonly #seen = new Map<string, number>()

  /** @param store one that several processes share */
  constructor(client: string, store: CredentialStore | undefined, clock: () => number) {
    this.#store = store?.shared === false ? undefined : store
    this.#prefix = `${LOGOUT_TOKENS}${client}/`
    this.#clock = clock
  }

  /**
   * Acts on a token that has not come before. Where that fails, the same token may come again; in two processes at once, both
   * may act.
   *
   * @returns whether it was the first to come
   */
  async once(jti: string, act: () => Promise<void>): Promise<boolean> {
    this.#forget()
    const key = this.#key(jti)
    if (this.#seen.has(key)) return false
    this.#seen.set(key, this.#clock())
    try {
      if (await reach(async () => this.#store?.get(key))) return false
      await act()
      return (await reach(async () => this.#store?.put(key, '', 0))) !== false
    } catch (error) {
      this.#seen.delete(key)
      throw error
    }
  }

  #key(jti: string): string {
    return this.#prefix + createHash('sha256').update(jti).digest('base64url')
  }

  #forget(): void {
    const now = this.#clock()
    for (const [key, at] of this.#seen) {
      const over = now - at > TOKEN_LIFETIME + MARGIN
      if (!over && this.#seen.size < MAXIMUM) break
      this.#seen.delete(key)
      if (over) reach(async () => this.#store?.delete(key)).catch(() => {})
    }
  }
}
