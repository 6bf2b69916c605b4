/** The credentials of one user, as application code uses them. */
import { inspect } from 'node:util'
import { CredentialsRequiredError, NotLoadedError, UserRequiredError } from '../errors.js'
import { exchangeError } from '../flows/exchange-error.js'
import { introspectToken } from '../flows/introspection.js'
import type { RevocationOutcome } from '../flows/revocation.js'
import { parseScopes, type ScopeInput } from '../provider/scopes.js'
import { type AccessToken, authorizedFetch, type TokenSource } from './authorized-fetch.js'
import { adoptCredentials, removeAccount, writeScopes } from './changes.js'
import { type ConnectedAccount, connectedAccount } from './connected-account.js'
import { type Credentials, credentialsOf } from './credentials.js'
import type { CredentialManager } from './manager.js'
import { type Account, accountOf, type Claims, type CredentialRecord, withhold } from './record.js'
import { isLive } from './refresh/state.js'
import type { Snapshot, Vault } from './vault.js'

/**
 * What became of credentials that were revoked.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { oauthAware, type Revoked } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.post('/disconnect', { onRequest: oauthAware() }, async ({ oauth2 }) => {
 *   const { local, remote }: Revoked = await oauth2.revoke()
 *   if (remote === 'failed') return 'Forgotten here. Remove this app in your account at the provider, too.'
 *   return local ? 'Disconnected.' : 'Nothing was connected.'
 * })
 * ```
 */
export interface Revoked {
  /** Whether there was something stored, which is now gone. */
  readonly local: boolean
  /** What the provider said: `failed` is worth telling the person. */
  readonly remote: RevocationOutcome
}

/**
 * The stored credentials of one user. Members that are not promises need a guard, or `load()`, before them. `await
 * fastify.oauth2.user(key)` and `await manager.user(key)` give one.
 *
 * @typeParam Scope what the app may ask about; what is granted is the provider's to say
 * @example
 * ```ts
 * import type { OAuth2Client } from 'fastify-oauth2client'
 *
 * async function backUp(client: OAuth2Client, key: string): Promise<boolean> {
 *   const user = await client.user(key)
 *   if (!user.hasCredentials('files.read')) return false
 *   const response = await user.fetch('https://api.example.com/files')
 *   return response.ok
 * }
 * ```
 */
export class UserOAuth2<Scope extends string = string> implements TokenSource {
  /** @internal */
  protected readonly manager: CredentialManager
  /** @internal */
  protected vault: Vault | undefined
  /** @internal */
  protected snapshot: Snapshot | undefined
  /** @internal */
  protected loaded = false
  /** @internal */
  protected accountId: string | undefined

  /** @internal */
  constructor(manager: CredentialManager, vault?: Vault, accountId?: string) {
    this.manager = manager
    this.vault = vault
    this.accountId = accountId
  }

  /** Reads what is stored, unless that was done before. Refreshes nothing. */
  async load({ recall = false }: { readonly recall?: boolean } = {}): Promise<this> {
    if (!this.loaded) {
      this.snapshot = this.vault && (await this.manager.keeper.load(this.vault, { recall }))
      this.loaded = true
    }
    return this
  }

  /** Reads again what was only remembered, and says whether it did: nobody is refused for what was true a moment ago. @internal */
  async confirm(): Promise<boolean> {
    if (!this.vault || !this.snapshot?.remembered) return false
    this.snapshot = await this.manager.keeper.load(this.vault, { certain: true })
    return true
  }

  /** The credentials without the refresh token, or `null` when there are none that could be used. */
  get credentials(): Credentials | null {
    const account = this.#usable
    return account && this.snapshot ? credentialsOf(this.snapshot.record, account) : null
  }

  /** Whether there are credentials that work, or that a refresh can make work, with all of `scopes`. */
  hasCredentials(scopes?: ScopeInput<Scope>): boolean {
    const account = this.#usable
    return account !== undefined && this.#provider.scopes.covers(account.tokens.scopes, parseScopes(scopes))
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

  /** Claims of the verified ID token, or what the provider said about the person; of imported credentials, what they came with. */
  get claims(): Claims | null {
    return this.current?.claims ?? null
  }

  /** Every account that the user connected. */
  accounts(): ConnectedAccount[] {
    this.assertLoaded()
    const { record, age } = this.snapshot ?? {}
    return (record?.accounts ?? []).map((account) => connectedAccount(account, age, this.#provider.clock()))
  }

  /** The same members for one of the connected accounts. */
  account(id: string): UserOAuth2<Scope> {
    this.assertLoaded()
    const view = new UserOAuth2<Scope>(this.manager, this.vault, id)
    view.snapshot = this.snapshot
    view.loaded = true
    // Credentials of one of several accounts that die in a handler get the answer of the guard too.
    view.failing = (use) => this.failing(use)
    return view
  }

  /**
   * An access token that works, refreshed first if need be. One of type `DPoP` comes with `dpopProof`, for whoever makes
   * requests without `fetch`.
   *
   * @throws {CredentialsRequiredError} when only a person can help
   * @throws {ProviderUnavailableError} {@link StoreUnavailableError}
   */
  async getAccessToken({
    rejected,
  }: {
    readonly rejected?: string
  } = {}): Promise<AccessToken & { readonly tokenType: string }> {
    return this.failing(async () => {
      const before = this.loaded
      await this.load()
      // It may have been loaded long ago, and somebody may have come back since.
      if (before && this.vault && !this.#usable) this.snapshot = await this.manager.keeper.load(this.vault)
      await this.ensureUsable(rejected)
      const { tokens } = this.current as Account
      const { accessToken: token, expiresAt, scopes, tokenType, dpopKey } = tokens
      const access = { token, expiresAt, scopes, tokenType }
      if (!dpopKey) return access
      return { ...access, dpopProof: (request) => this.#provider.dpop.proof(dpopKey, request, token) }
    })
  }

  /**
   * `fetch` with the access token. Refreshes once and tries again once when the API answers 401.
   *
   * @throws {OriginNotAllowedError} for an origin that is not in `allowedOrigins`
   */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const { registration, refusals } = this.manager
    // What an API refused is remembered by credential, so it has to be known whose this is.
    await this.failing(() => this.load())
    return authorizedFetch(
      {
        source: this,
        allowedOrigins: registration.allowedOrigins,
        fetch: registration.provider.fetch,
        clock: registration.clock,
        refusals,
        credential: `${this.vault?.place ?? this.vault?.id}\n${this.accountId}`,
        dpop: registration.provider.dpop,
        isNew: (since) => (this.current?.tokens.obtainedAt ?? since) >= since,
        confirm: async () => ((await this.confirm()) ? this.getAccessToken() : undefined),
      },
      input,
      init,
    )
  }

  /**
   * Asks the provider what is granted by now, and writes it down: people can take back a part of what they granted, and only
   * the next refresh might say so. RFC 7662, or the provider's own way.
   *
   * @returns what is granted; unchanged where the provider says nothing about scopes
   * @throws {ProviderMetadataError} when the provider cannot be asked
   * @throws {CredentialsRequiredError} when only a person can help
   * @throws {ProviderUnavailableError} {@link ClientRejectedError} {@link ExchangeFailedError} {@link StoreUnavailableError}
   */
  async retrieveScopes(): Promise<readonly string[]> {
    let { token } = await this.getAccessToken()
    let found = await this.#introspect(token)
    if (!found.active) {
      ;({ token } = await this.getAccessToken({ rejected: token }))
      found = await this.#introspect(token)
    }
    if (!found.active) throw new CredentialsRequiredError()
    const account = this.current
    if (!found.scopes || !account || !this.vault) return this.scopes
    const record = await writeScopes(this.manager.keeper, this.vault, account, found.scopes)
    this.#keep(record)
    return this.scopes
  }

  async #introspect(token: string) {
    try {
      return await introspectToken(this.#provider, token)
    } catch (error) {
      throw exchangeError(error)
    }
  }

  /** Stores credentials that were obtained elsewhere, in the place of what is stored for the same identity. */
  async adopt(credentials: Credentials): Promise<void> {
    if (!this.loaded) await this.load()
    if (!this.vault) throw new UserRequiredError()
    const record = await adoptCredentials(this.manager.keeper, this.vault, credentials)
    this.#keep(record)
    this.loaded = true
  }

  /** Ends the grant: removes what is stored, then asks the provider to forget it too. */
  async revoke(): Promise<Revoked> {
    await this.load()
    if (!this.vault) return { local: false, remote: 'unsupported' }
    const { remaining, ...outcome } = await removeAccount(this.manager, this.vault, this.accountId)
    this.#keep(remaining)
    return outcome
  }

  /** What was written is looked at like what was read: a store keeps refresh tokens to itself. */
  #keep(record: CredentialRecord | undefined): void {
    const seen = record && this.vault?.journaled ? withhold(record) : record
    this.snapshot = seen && { record: seen, generation: 0 }
  }

  /** Makes the access token usable, or throws what a guard answers with. @internal */
  async ensureUsable(rejected?: string): Promise<void> {
    const { vault, accountId: account } = this
    if (!vault) throw new CredentialsRequiredError()
    try {
      this.snapshot = await this.manager.keeper.usable(vault, this.snapshot, { account, rejected })
    } catch (error) {
      // What looked usable has just turned out to be over: nobody who asks again may be told otherwise.
      if (error instanceof CredentialsRequiredError && this.#usable) await this.#look(vault)
      throw error
    }
  }

  async #look(vault: Vault): Promise<void> {
    try {
      this.snapshot = await this.manager.keeper.load(vault)
    } catch {
      // The answer is the same; what is shown beside it may be a moment old.
    }
  }

  /** The account in question. @internal */
  get current(): Account | undefined {
    this.assertLoaded()
    return accountOf(this.snapshot?.record, this.accountId)
  }

  get #provider() {
    return this.manager.keeper.provider
  }

  get #usable(): Account | undefined {
    const account = this.current
    return account && isUsable(account, this.#provider.clock()) ? account : undefined
  }

  /** @internal */
  protected assertLoaded(): void {
    if (!this.loaded) throw new NotLoadedError(this.manager.name)
  }

  /** What loggers get. Tokens, a request and a reply hang on this object, and none of them belongs into a log. */
  toJSON(): Record<string, unknown> {
    const { manager, loaded } = this
    return { redacted: true, client: manager.name, loaded, ...(loaded ? { scopes: this.scopes } : {}) }
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
