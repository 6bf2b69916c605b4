/** What `request.oauth2` is, and the only place that tells TypeScript about it. */
import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from './client.js'
import { UserOAuth2 } from './credentials/user.js'
import type { GuardConfig, OAuth2Client } from './plugin.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import { endLink } from './session/link.js'
import { moveToStore } from './session/move-to-store.js'
import { ensureBinding, isEncrypted, persistSession, readLink, writeLink } from './session/session.js'
import { sealTicket } from './session/ticket.js'
import type { SessionVault } from './storage/session-storage.js'

import { createXsrfToken } from './xsrf/token.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The OAuth client registered under the default name. */
    oauth2: OAuth2Client
  }
  interface FastifyRequest {
    /** The credentials of whoever makes this request. */
    oauth2: RequestOAuth2
  }
  interface FastifyContextConfig {
    /** Guards the route: `true`, `'aware'`, or the scopes that it needs. */
    oauth2?: GuardConfig
  }
}

/** Where to send people for more, and what for. */
export interface AuthorizeUrlOptions {
  readonly scopes?: ScopeInput
  /** The account that it is for, or `'new'` for another one. */
  readonly account?: string
  /** `prompt` of OpenID Connect Core section 3.1.2.1. */
  readonly prompt?: string
  readonly loginHint?: string
}

/** `request.oauth2`: the credentials of whoever makes the request. */
export class RequestOAuth2 extends UserOAuth2 {
  readonly #client: Client
  readonly #request: FastifyRequest
  /** Known once a guard or `oauthAware()` ran. @internal */
  reply: FastifyReply | undefined
  /**
   * The key that the credentials are stored under, for `fastify.oauth2.user(key)`: the app's own user, or the identity at the
   * provider. Known after a guard or `load()`; `undefined` when nobody is signed in.
   */
  user: string | undefined
  /** Called with an error that `getAccessToken` or `fetch` threw into the handler. @internal */
  onFailure: ((error: unknown) => void) | undefined

  /** @internal */
  constructor(client: Client, request: FastifyRequest) {
    super(client.manager)
    this.#client = client
    this.#request = request
  }

  /** Whether this is the state of that client: a request can have one for each. @internal */
  belongsTo(client: Client): boolean {
    return this.#client === client
  }

  /** Has the next use read everything again: a callback has just changed it. @internal */
  forget(): void {
    this.loaded = false
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

  /** @param options.recall whether what was read a moment ago will do, for whoever reads again before refusing: internal */
  override async load({ recall = false } = {}): Promise<this> {
    if (this.loaded) return this
    const { options, sessionStorage } = this.#client
    this.user = await this.#client.userFor(this.#request)
    if (this.user !== undefined) {
      if (options.store) await this.#moveToStore(this.user)
      this.vault = options.store
        ? this.#client.manager.vaultOf(this.user)
        : await sessionStorage.vault(this.#slot(this.user))
    }
    return super.load({ recall })
  }

  /** @internal */
  override async ensureUsable(rejected?: string): Promise<void> {
    const before = this.snapshot
    await super.ensureUsable(rejected)
    // Another request of this session may have refreshed: then this one has to carry the result home too. What was loaded,
    // and may be overtaken by now, is left where it is.
    if (!this.snapshot || this.snapshot === before || this.#client.options.store) return
    await (this.vault as SessionVault).adopt(this.snapshot.record)
  }

  /** A token for the `_csrf` field of a form that posts to the logout route. */
  get xsrfToken(): string {
    this.assertLoaded()
    const [key] = this.#client.options.keys.macKeys('xsrf')
    const now = this.#client.options.clock()
    return createXsrfToken(key as NonNullable<typeof key>, {
      user: ensureBinding(this.#request, now),
      action: this.#client.name,
      now,
    })
  }

  /** Ends this browser's link to the stored credentials, which stay for others and for jobs; those in the session go. */
  async signOut(): Promise<void> {
    await endLink(this.#client, this.#request, this.reply)
    this.vault = undefined
    this.snapshot = undefined
    this.user = undefined
    this.loaded = true
  }

  /**
   * A link that asks for authorization.
   *
   * @param returnUrl where to go afterwards: a path of this app. Default: whatever the page appends as `return_url`
   */
  async authorizeUrl(returnUrl?: string, options: AuthorizeUrlOptions = {}): Promise<string> {
    const query = new URLSearchParams()
    const { scopes, ...rest } = options
    if (Object.keys(options).length > 0) {
      const ticket = { ...rest, ...(scopes === undefined ? {} : { scopes: parseScopes(scopes) }) }
      query.set(
        'ticket',
        await sealTicket(this.#client.options.keys, this.#client.id, ticket, this.#client.options.clock()),
      )
    }
    if (returnUrl !== undefined) query.set('return_url', this.#client.returnUrl(returnUrl))
    return query.size > 0 ? `${this.#client.authorizePath}?${query}` : this.#client.authorizePath
  }

  /** @internal */
  protected override async failing<T>(use: () => Promise<T>): Promise<T> {
    try {
      return await use()
    } catch (error) {
      this.onFailure?.(error)
      throw error
    }
  }

  async #moveToStore(user: string): Promise<void> {
    const link = this.#client.linkOf(this.#request)
    if (link?.credentials !== undefined && link.user === user)
      await moveToStore(this.#client, this.#request, link, user)
  }

  #slot(user: string) {
    const { id: name } = this.#client
    const request = this.#request
    const found = this.#client.linkOf(request)
    // Credentials of whoever used this session before are nobody else's.
    const link = found?.user === user ? found : undefined
    const id = link?.id ?? randomUUID()
    return {
      id,
      encrypted: isEncrypted(request),
      read: () => link?.credentials,
      write: async (credentials: string | undefined) => {
        const current = readLink(request, name)
        const { credentials: _, ...rest } = current?.id === id ? current : { id, user }
        writeLink(request, name, credentials === undefined ? rest : { ...rest, credentials })
        await persistSession(request)
      },
    }
  }
}
