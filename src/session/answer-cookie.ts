/**
 * An answer that the provider had a browser post, on its way to where the session is: a form from another site comes without
 * the session's cookie, and the navigation after it brings that along. Sealed, for a minute, in this browser only.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AnswerTooLargeError } from '../errors.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { CookieJar } from './cookies.js'

/** Seconds. */
const LIFETIME = 60
const MAXIMUM_COOKIE = 3_800
/** More would leave too little of what servers take for headers to the other cookies. */
const MAXIMUM_COOKIES = 2
/** After it comes what is left of a longer answer to the same state. */
const END = '~'

export class AnswerCookies {
  readonly #client: string
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number

  constructor(client: string, keys: KeyRing, cookies: CookieJar, clock: () => number) {
    this.#client = client
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
  }

  /**
   * @param hash of the state that it answers
   * @param form as it was posted
   * @throws {AnswerTooLargeError}
   */
  async save(reply: FastifyReply, hash: string, form: string): Promise<void> {
    const text = JSON.stringify({ form, until: this.#clock() + LIFETIME * 1000 })
    const sealed = this.#keys.seal('flow', ['answer', this.#client, hash], text) + END
    if (sealed.length > MAXIMUM_COOKIE * MAXIMUM_COOKIES) throw new AnswerTooLargeError()
    for (const [index, name] of names(hash).entries()) {
      const part = sealed.slice(index * MAXIMUM_COOKIE, (index + 1) * MAXIMUM_COOKIE)
      if (part) this.#cookies.set(reply, name, part, LIFETIME)
    }
  }

  async find(request: FastifyRequest, hash: string): Promise<string | undefined> {
    const parts = names(hash).map((name) => this.#cookies.get(request, name) ?? '')
    try {
      const [sealed = ''] = parts.join('').split(END)
      const text = this.#keys.open('flow', ['answer', this.#client, hash], sealed)
      const { form, until } = JSON.parse(text) as { readonly form: string; readonly until: number }
      return this.#clock() < until ? form : undefined
    } catch {
      return undefined
    }
  }

  /** Takes it out of the browser: its flow is over. */
  clear(request: FastifyRequest, reply: FastifyReply, hash: string): void {
    for (const name of names(hash)) if (this.#cookies.get(request, name)) this.#cookies.clear(reply, name)
  }
}

function names(hash: string): string[] {
  return Array.from({ length: MAXIMUM_COOKIES }, (_, index) => `answer.${hash.slice(0, 12)}.${index}`)
}
