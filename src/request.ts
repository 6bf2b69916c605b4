/** What `request.oauth2` and `fastify.oauth2.user(key)` are, and the only place that tells TypeScript about them. */
import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from './client.js'
import { type AccessToken, authorizedFetch, type TokenSource } from './credentials/authorized-fetch.js'
import { adoptCredentials, removeAccount } from './credentials/changes.js'
import type { Credentials } from './credentials/credentials.js'
import { type Account, accountOf, type Claims } from './credentials/record.js'
import { isLive } from './credentials/refresh-state.js'
import type { Snapshot, Vault } from './credentials/vault.js'
import { CredentialsRequiredError, NotLoadedError, UserRequiredError } from './errors.js'
import type { RevocationOutcome } from './flows/revocation.js'
import type { GuardConfig, OAuth2Client } from './plugin.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import { endLink } from './session/link.js'
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

/** A connected account, without its secrets. */
export interface ConnectedAccount {
  /** The identity at the provider. */
  readonly id: string
  readonly email: string | null
  readonly scopes: readonly string[]
  /** Scopes that were asked for and not granted. */
  readonly declined: readonly string[]
  readonly status: 'active' | 'needs_reauthorization'
  /** Milliseconds since the epoch of the access token's expiry; `undefined` when unknown. */
  readonly expiresAt: number | undefined
  /** Whether access lasts beyond the access token. */
  readonly refreshable: boolean
}

/** What became of credentials that were revoked. */
export interface Revoked {
  /** Whether there was something stored, which is now gone. */
  readonly local: boolean
  readonly remote: RevocationOutcome
}

/** The stored credentials of one user. Members that are not promises need a guard, or `load()`, before them. */
export class UserOAuth2 implements TokenSource {
  /** @internal */
  protected readonly client: Client
  /** @internal */
  protected vault: Vault | undefined
  /** @internal */
  protected snapshot: Snapshot | undefined
  /** @internal */
  protected loaded = false
  /** @internal */
  protected accountId: string | undefined

  /** @internal */
  constructor(client: Client, vault?: Vault, accountId?: string) {
    this.client = client
    this.vault = vault
    this.accountId = accountId
  }

  /** Reads what is stored, unless that was done before. Refreshes nothing. */
  async load(): Promise<this> {
    if (!this.loaded) {
      this.snapshot = this.vault && (await this.client.manager.load(this.vault))
      this.loaded = true
    }
    return this
  }

  /** The credentials without the refresh token, or `null` when there are none that could be used. */
  get credentials(): Credentials | null {
    const account = this.#usable
    return account && this.snapshot ? this.client.credentialsOf(this.snapshot.record, account) : null
  }

  /** Whether there are credentials that work, or that a refresh can make work, with all of `scopes`. */
  hasCredentials(scopes?: ScopeInput): boolean {
    const account = this.#usable
    return (
      account !== undefined && this.client.options.provider.scopes.covers(account.tokens.scopes, parseScopes(scopes))
    )
  }

  /** What was granted, which may be less than what was asked for. */
  get scopes(): readonly string[] {
    return this.current?.tokens.scopes ?? []
  }

  /** The person's e-mail address as the provider gave it. For display: it is not an identity. */
  get email(): string | null {
    return this.current?.email ?? null
  }

  /** The person's identity at the provider: `sub` of the ID token. */
  get userId(): string | null {
    const account = this.current
    return account?.identified ? account.id : null
  }

  /** Claims of the verified ID token, or what the provider said about the person. */
  get claims(): Claims | null {
    return this.current?.claims ?? null
  }

  /** Every account that the user connected. */
  accounts(): ConnectedAccount[] {
    this.assertLoaded()
    const now = this.client.options.clock()
    return (this.snapshot?.record.accounts ?? []).map((account) => ({
      id: account.id,
      email: account.email ?? null,
      scopes: account.tokens.scopes,
      declined: account.declined,
      status: account.dead || !isUsable(account, now) ? 'needs_reauthorization' : 'active',
      expiresAt: account.tokens.expiresAt,
      refreshable: !account.dead && account.tokens.refreshToken !== undefined,
    }))
  }

  /** The same members for one of the connected accounts. */
  account(id: string): UserOAuth2 {
    this.assertLoaded()
    const view = new UserOAuth2(this.client, this.vault, id)
    view.snapshot = this.snapshot
    view.loaded = true
    return view
  }

  /**
   * An access token that works, refreshed first if need be.
   *
   * @throws {CredentialsRequiredError} when only a person can help
   * @throws {ProviderUnavailableError} {@link StoreUnavailableError}
   */
  async getAccessToken({ rejected }: { readonly rejected?: string } = {}): Promise<AccessToken> {
    return this.failing(async () => {
      await this.load()
      await this.ensureUsable(rejected)
      const { tokens } = this.current as Account
      return { token: tokens.accessToken, expiresAt: tokens.expiresAt, scopes: tokens.scopes }
    })
  }

  /**
   * `fetch` with the access token. Refreshes once and tries again once when the API answers 401.
   *
   * @throws {OriginNotAllowedError} for an origin that is not in `allowedOrigins`
   */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const { options, refusals } = this.client
    // What an API refused is remembered by credential, so it has to be known whose this is.
    await this.failing(() => this.load())
    return authorizedFetch(
      {
        source: this,
        allowedOrigins: options.allowedOrigins,
        fetch: options.provider.fetch,
        clock: options.clock,
        refusals,
        credential: `${this.vault?.place ?? this.vault?.id}\n${this.accountId}`,
      },
      input,
      init,
    )
  }

  /** Stores credentials that were obtained elsewhere, in the place of what is stored for the same identity. */
  async adopt(credentials: Credentials): Promise<void> {
    if (!this.loaded) await this.load()
    if (!this.vault) throw new UserRequiredError()
    const record = await adoptCredentials(this.client.manager, this.vault, credentials)
    this.snapshot = { record, generation: 0 }
    this.loaded = true
  }

  /** Ends the grant: removes what is stored, then asks the provider to forget it too. */
  async revoke(): Promise<Revoked> {
    await this.load()
    if (!this.vault) return { local: false, remote: 'unsupported' }
    const { remaining, ...outcome } = await removeAccount(this.client.manager, this.vault, this.accountId)
    this.snapshot = remaining && { record: remaining, generation: 0 }
    return outcome
  }

  /** Makes the access token usable, or throws what a guard answers with. @internal */
  async ensureUsable(rejected?: string): Promise<void> {
    if (!this.vault) throw new CredentialsRequiredError()
    this.snapshot = await this.client.manager.usable(this.vault, this.snapshot, { account: this.accountId, rejected })
  }

  /** The account in question. @internal */
  get current(): Account | undefined {
    this.assertLoaded()
    return accountOf(this.snapshot?.record, this.accountId)
  }

  get #usable(): Account | undefined {
    const account = this.current
    return account && isUsable(account, this.client.options.clock()) ? account : undefined
  }

  /** @internal */
  protected assertLoaded(): void {
    if (!this.loaded) throw new NotLoadedError(this.client.name)
  }

  /** What loggers get. Tokens, a request and a reply hang on this object, and none of them belongs into a log. */
  toJSON(): Record<string, unknown> {
    const { client, loaded } = this
    return { redacted: true, client: client.name, loaded, ...(loaded ? { scopes: this.scopes } : {}) }
  }

  [inspect.custom](): string {
    return `${this.constructor.name} ${inspect(this.toJSON(), { breakLength: Number.POSITIVE_INFINITY })}`
  }

  /** A place for requests to note that credentials died while they were used. @internal */
  protected failing<T>(use: () => Promise<T>): Promise<T> {
    return use()
  }
}

function isUsable(account: Account, now: number): boolean {
  return !account.dead && (account.tokens.refreshToken !== undefined || isLive(account, now))
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
    super(client)
    this.#request = request
  }

  /** Whether this is the state of that client: a request can have one for each. @internal */
  belongsTo(client: Client): boolean {
    return this.client === client
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

  /** Makes one of the connected accounts the one that all members are about. @internal */
  select(accountId: string | undefined): void {
    this.accountId = accountId
  }

  override async load(): Promise<this> {
    if (this.loaded) return this
    const { options, sessionStorage } = this.client
    this.user = await this.client.userFor(this.#request)
    if (this.user !== undefined) {
      this.vault = options.store ? this.client.vaultOf(this.user) : await sessionStorage.vault(this.#slot(this.user))
    }
    return super.load()
  }

  /** @internal */
  override async ensureUsable(rejected?: string): Promise<void> {
    await super.ensureUsable(rejected)
    // Another request of this session may have refreshed: then this one has to carry the result home too.
    if (!this.client.options.store && this.snapshot) await (this.vault as SessionVault).adopt(this.snapshot.record)
  }

  /** A token for the `_csrf` field of a form that posts to the logout route. */
  get xsrfToken(): string {
    this.assertLoaded()
    const [key] = this.client.options.keys.macKeys('xsrf')
    const now = this.client.options.clock()
    return createXsrfToken(key as NonNullable<typeof key>, {
      user: ensureBinding(this.#request, now),
      action: this.client.name,
      now,
    })
  }

  /** Ends this browser's link to the stored credentials, which stay for others and for jobs; those in the session go. */
  async signOut(): Promise<void> {
    await endLink(this.client, this.#request, this.reply)
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
        await sealTicket(this.client.options.keys, this.client.name, ticket, this.client.options.clock()),
      )
    }
    if (returnUrl !== undefined) query.set('return_url', this.client.returnUrl(returnUrl))
    return query.size > 0 ? `${this.client.authorizePath}?${query}` : this.client.authorizePath
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

  #slot(user: string) {
    const { name } = this.client
    const request = this.#request
    const found = this.client.linkOf(request)
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
