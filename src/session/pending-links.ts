/**
 * Accounts that the person has yet to confirm, with everything that was received for them. They wait where the credentials
 * will be kept, but apart from them: in the store, in a session on the server, or in a cookie where the session is one.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Account } from '../credentials/record.js'
import { PENDING_LINKS } from '../credentials/upkeep/markers.js'
import { reach } from '../credentials/vault.js'
import { SessionTooLargeError } from '../errors.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { CredentialStore } from '../storage/storage.js'
import type { CookieJar } from './cookies.js'
import { type PendingFlow, same } from './flow-cookie.js'
import { isEncrypted, readAside, readBinding, writeAside } from './session.js'

/** What is left of a flow when all that is missing is a yes. */
export interface PendingLink {
  readonly account: Account
  readonly flow: Pick<
    PendingFlow,
    'intent' | 'needed' | 'scopes' | 'returnUrl' | 'form' | 'identity' | 'another' | 'stepUp' | 'startedAt'
  > & { readonly user: string }
  /** The random value in the session that the account was received in. */
  readonly binding: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Milliseconds that a person may take to answer. */
export const CONFIRM_WITHIN = 600_000
const MAXIMUM_COOKIE = 3_900
const MAXIMUM = 10_000

export class PendingLinks {
  readonly #client: string
  readonly #store: CredentialStore | undefined
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number
  /** Left in the store by this process, oldest first: people who never answer are not to fill it. */
  readonly #left: { key: string; until: number }[] = []

  constructor(
    client: string,
    store: CredentialStore | undefined,
    keys: KeyRing,
    cookies: CookieJar,
    clock: () => number,
  ) {
    this.#client = client
    this.#store = store
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
  }

  /**
   * Puts aside what a flow brought.
   *
   * @returns what each response that asks the person has to {@link carry}
   */
  async hold(hash: string, link: Omit<PendingLink, 'expiresAt'>): Promise<string | undefined> {
    this.#forget()
    const expiresAt = this.#clock() + CONFIRM_WITHIN
    const sealed = this.#keys.seal('pending', [this.#client, hash], JSON.stringify({ ...link, expiresAt }))
    const store = this.#store
    if (!store) return sealed
    const key = this.#key(hash)
    await reach(() => store.put(key, sealed, 0))
    // Beyond that many, a sweep takes them away.
    if (this.#left.length < MAXIMUM) this.#left.push({ key, until: expiresAt })
    return undefined
  }

  /** @throws {SessionTooLargeError} when a cookie cannot hold it */
  carry(request: FastifyRequest, reply: FastifyReply, sealed: string | undefined): void {
    if (sealed === undefined) return
    if (!isEncrypted(request)) {
      writeAside(request, 'pending', this.#client, sealed)
      return
    }
    if (sealed.length > MAXIMUM_COOKIE) throw new SessionTooLargeError()
    this.#cookies.set(reply, this.#cookie, sealed, CONFIRM_WITHIN / 1000)
  }

  /** What waits for an answer of this browser, if it is not too old. */
  async find(request: FastifyRequest, hash: string): Promise<PendingLink | undefined> {
    const binding = readBinding(request)
    if (binding === undefined) return undefined
    const sealed = await this.#read(request, hash)
    if (!sealed) return undefined
    let link: PendingLink
    try {
      link = JSON.parse(this.#keys.open('pending', [this.#client, hash], sealed))
    } catch {
      return undefined
    }
    return same(link.binding, binding) && this.#clock() < link.expiresAt ? link : undefined
  }

  /** Takes it out of the store. @returns whether it was still there, which is true for one caller only */
  async take(hash: string): Promise<boolean> {
    const store = this.#store
    return store ? reach(() => store.delete(this.#key(hash))) : true
  }

  /** Takes it out of this browser's session, where there is no store. */
  discard(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#store) return
    if (isEncrypted(request)) this.#cookies.clear(reply, this.#cookie)
    else writeAside(request, 'pending', this.#client, undefined)
  }

  async #read(request: FastifyRequest, hash: string): Promise<string | undefined> {
    const store = this.#store
    if (store) return (await reach(() => store.get(this.#key(hash))))?.value
    return isEncrypted(request) ? this.#cookies.get(request, this.#cookie) : readAside(request, 'pending', this.#client)
  }

  #forget(): void {
    while (this.#left[0] && this.#clock() >= this.#left[0].until) {
      const { key } = this.#left.shift() as { key: string }
      reach(async () => this.#store?.delete(key)).catch(() => {})
    }
  }

  #key(hash: string): string {
    return `${PENDING_LINKS}${this.#client}/${hash}`
  }

  get #cookie(): string {
    return `pending.${this.#client}`
  }
}
