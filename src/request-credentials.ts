/** Finds the credentials of whoever makes a request: whose they are, and whether they may be used. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from './client.js'
import { digestOf } from './credentials/ended.js'
import type { Account } from './credentials/record.js'
import { UserOAuth2 } from './credentials/user.js'
import { isRequired, meetsRequirements, type SignInRequirements } from './provider/authentication.js'
import { endLink } from './session/link.js'
import { moveToStore } from './session/move-to-store.js'
import { type Proof, readLink, type SessionLink } from './session/session.js'
import { slotOf } from './session/slot.js'
import type { SessionVault } from './storage/session-vault.js'

/** Milliseconds for which a request makes do with the access token that it had fetched, whatever its lifetime. */
const RENEWED_FOR = 10_000

const NOTHING: SignInRequirements = {}

/** What guards and routes need of {@link RequestOAuth2}, and its members that say who it is. */
export class RequestCredentials<Scope extends string = string> extends UserOAuth2<Scope> {
  /** @internal */
  readonly client: Client
  /** @internal */
  readonly request: FastifyRequest
  /** Whether a route of ours is asked for, which a guard over everything must not close. @internal */
  readonly ownRoute: boolean
  /** What `userKey` gave, which is called once a request. */
  #asked: { readonly user: Promise<string | undefined> | string | undefined } | undefined
  #renewedAt: number | undefined
  /** Known once a guard or `oauthAware()` ran. @internal */
  reply: FastifyReply | undefined
  /**
   * The key that the credentials are stored under, for `fastify.oauth2.user(key)`: the app's own user, or the identity at the
   * provider. Known after a guard or `load()`; `undefined` when nobody is signed in.
   */
  user: string | undefined
  /** How a guard wants the person to have signed in. @internal */
  required: SignInRequirements = NOTHING

  /** @internal */
  constructor(client: Client, request: FastifyRequest, ownRoute: boolean) {
    super(client.manager)
    this.client = client
    this.request = request
    this.ownRoute = ownRoute
  }

  /** Whether this is the state of that client: a request can have one for each. @internal */
  belongsTo(client: Client): boolean {
    return this.client === client
  }

  /** Has the next use read everything again: a callback has just changed it. @internal */
  forget(): void {
    this.loaded = false
    this.#asked = undefined
    this.vault = undefined
    this.snapshot = undefined
  }

  /** Counts as loaded, with nothing found. @internal */
  loadNothing(): this {
    this.snapshot = undefined
    this.loaded = true
    return this
  }

  /** The account that a guard asked for by name. @internal */
  get selected(): string | undefined {
    return this.accountId
  }

  /** Makes one of the connected accounts the one that all members are about. @internal */
  select(accountId: string | undefined): void {
    this.accountId = accountId
  }

  /**
   * Does what `load` does where nobody has to be asked: with a session that says who it is, and credentials that were read a
   * moment ago. So most requests of a busy app take no promise. @internal
   */
  loadAtHand(): boolean {
    if (this.loaded) return true
    const { id, options, manager, sessionStorage, signIns } = this.client
    const link = readLink(this.request, id)
    const user = this.#whose(link)
    if (typeof user !== 'string') return false
    // What has to be moved to a store first takes time, and so does ending what ended elsewhere.
    if (options.store && link?.credentials !== undefined) return false
    const vault = options.store
      ? manager.vaultOf(user)
      : sessionStorage.vaultAtHand(slotOf(this.client, this.request, user, link))
    const snapshot = vault && manager.keeper.recall(vault)
    if (!snapshot || (link && signIns.hasEnded(link, snapshot.record))) return false
    this.user = user
    this.vault = vault
    this.snapshot = snapshot
    this.loaded = true
    return true
  }

  #whose(link?: SessionLink): Promise<string | undefined> | string | undefined {
    if (!this.client.options.userKey) return this.client.linkOf(this.request, link)?.user
    if (!this.#asked) {
      const user = this.#ask()
      this.#asked = { user }
      // Whoever asks again after a failure may be luckier.
      if (typeof user === 'object') {
        user.catch(() => {
          this.#asked = undefined
        })
      }
    }
    return this.#asked.user
  }

  #ask(): Promise<string | undefined> | string | undefined {
    try {
      return this.client.userFor(this.request)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Whether the access token works as it is, and was granted all of that by somebody who signed in like that. @internal */
  isReady(needed: readonly string[], required: SignInRequirements): boolean {
    return this.client.manager.keeper.isUsable(this.current) && this.covers(needed) && this.meets(required)
  }

  /** @internal */
  covers(needed: readonly string[]): boolean {
    return this.client.options.provider.scopes.covers(this.scopes, needed)
  }

  /** @internal */
  meets(required: SignInRequirements): boolean {
    return !isRequired(required) || meetsRequirements(this.proof, required, this.client.options.clock())
  }

  /** @param options.recall whether what was read a moment ago will do, for whoever reads again before refusing: internal */
  override async load({ recall = false } = {}): Promise<this> {
    if (this.loaded) return this
    const { manager, options, sessionStorage } = this.client
    const whose = this.#whose()
    const user = typeof whose === 'object' ? await whose : whose
    this.user = user
    if (user !== undefined) {
      const link = readLink(this.request, this.client.id)
      if (options.store && link?.credentials !== undefined) await this.#moveToStore(user)
      this.vault = options.store
        ? manager.vaultOf(user)
        : await sessionStorage.vault(slotOf(this.client, this.request, user, link))
    }
    this.snapshot = this.vault && (await manager.keeper.load(this.vault, { recall }))
    this.loaded = true
    if (this.#hasEnded()) await this.#endLink()
    return this
  }

  /** @internal */
  override async confirm(): Promise<boolean> {
    const confirmed = await super.confirm()
    if (confirmed && this.#hasEnded()) await this.#endLink()
    return confirmed
  }

  /** @internal */
  override async ensureUsable(rejected?: string): Promise<void> {
    const before = this.snapshot
    if (rejected === undefined && this.#justRenewed()) return
    const since = this.client.options.clock()
    await super.ensureUsable(rejected)
    const { obtainedAt } = (this.current as Account).tokens
    if (obtainedAt >= since) this.#renewedAt = obtainedAt
    // Another request of this session may have refreshed: then this one has to carry the result home too. What was loaded,
    // and may be overtaken by now, is left where it is.
    if (!this.snapshot || this.snapshot === before || this.client.options.store) return
    await (this.vault as SessionVault).adopt(this.snapshot.record)
  }

  /**
   * What was proven in this browser of the account that all members are about. Claims tell of the newest sign-in, which
   * may have been another browser's, or of a refresh. @internal
   */
  get proof(): Proof | undefined {
    const { current } = this
    const link = this.client.linkOf(this.request)
    if (!current || link?.user !== this.user) return undefined
    const account = digestOf(current.id)
    return link?.proofs?.find((proof) => proof.account === account)
  }

  /** Tokens that are over when they arrive would be fetched at every use; a request gets one, and the API has the last word. */
  #justRenewed(): boolean {
    const at = this.#renewedAt
    const known = at !== undefined && this.loaded && this.current?.tokens.obtainedAt === at && !this.current.dead
    return known && this.client.options.clock() - at < RENEWED_FOR
  }

  /** Whether the link was ended elsewhere. */
  #hasEnded(): boolean {
    const { store, userKey } = this.client.options
    // Where a session counts for nothing, there may be none.
    if (this.user === undefined && (store || userKey)) return false
    const link = readLink(this.request, this.client.id)
    if (!link || (store && link.user !== this.user)) return false
    return this.client.signIns.hasEnded(link, this.snapshot?.record)
  }

  /** It is ended here too, with the first request that learns of it. */
  async #endLink(): Promise<void> {
    const { userKey } = this.client.options
    // Who an app with users of its own has signed in is for the app to say.
    if (userKey) await endLink(this.client, this.request, this.reply)
    // Flows and forms of ours are bound to the session as it is. What they lead to takes the place of the link.
    else if (this.ownRoute) this.#nobody()
    else await this.leave()
  }

  /** Ends this browser's link. @internal */
  protected async leave(): Promise<void> {
    await endLink(this.client, this.request, this.reply)
    this.#nobody()
  }

  #nobody(): void {
    this.vault = undefined
    this.snapshot = undefined
    this.user = undefined
    this.loaded = true
  }

  async #moveToStore(user: string): Promise<void> {
    const link = this.client.linkOf(this.request)
    if (link?.credentials !== undefined && link.user === user) await moveToStore(this.client, this.request, link, user)
  }
}
