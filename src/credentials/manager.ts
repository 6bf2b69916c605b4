/** The public face of stored credentials: who they belong to, and the one owner of their refresh. Knows nothing of the web. */

import { inspect } from 'node:util'
import { BoundedMap } from '../bounded-map.js'
import { OptionError, StoreRequiredError } from '../errors.js'
import { publish } from '../events.js'
import { checkKnown } from '../registration/checks.js'
import { REGISTRATION_OPTIONS, Registration, type RegistrationOptions } from '../registration/registration.js'
import type { CredentialStore } from '../storage/storage.js'
import { Keeper } from './keeper.js'
import type { Account } from './record.js'
import { StoredSignIns } from './sign-ins.js'
import { Burst } from './upkeep/burst.js'
import { type DeletedUser, type DeleteUserOptions, deleteUser } from './upkeep/delete-user.js'
import { KeyRegistry, type RegistryLog } from './upkeep/key-registry.js'
import { Moves } from './upkeep/moves.js'
import { type SweepOptions, type SweepReport, sweep } from './upkeep/sweep.js'
import { UserOAuth2 } from './user.js'
import { RecordSealer, StoreVault, type Vault } from './vault.js'

/**
 * Options of a `CredentialManager`: those of the plugin that are not about the web, with a store. For
 * {@link CredentialManager}.
 */
export interface CredentialManagerOptions extends RegistrationOptions {
  /** Where the credentials are: the store of the web app, to share them with it. */
  readonly storage: CredentialStore
}

/**
 * Stored credentials of one registration, in a program without Fastify: a worker, a cron job, a script. Give it the `name`,
 * provider, client, store and keys of the web app, and both share credentials safely: a refresh token is sent by one of them.
 *
 * @throws {OptionError} {@link ClientSecretsError} for options that cannot work
 * @example
 * ```ts
 * import { CredentialManager } from 'fastify-oauth2client/credentials'
 * import { google } from 'fastify-oauth2client/providers'
 * import { fileStore } from 'fastify-oauth2client/storage/file'
 *
 * const manager = new CredentialManager({
 *   provider: google(),
 *   clientSecretsFile: 'client_secrets.json',
 *   storage: fileStore({ path: 'credentials.json' }),
 *   encryptionKeys: [process.env.OAUTH2_KEY ?? ''],
 * })
 * const alice = await manager.user('alice')
 * const response = await alice.fetch('https://www.googleapis.com/drive/v3/files')
 * console.log(response.status)
 * await manager.close()
 * ```
 */
export class CredentialManager {
  /** @internal */
  readonly registration: Registration
  /** @internal */
  readonly keeper: Keeper
  /** @internal */
  readonly sealer: RecordSealer
  /** @internal */
  readonly moves: Moves
  /** The keys in use, where several may have different ones. @internal */
  readonly registry: KeyRegistry | undefined
  /** Access tokens that an API keeps refusing, by credential and origin: until when no new one is fetched for that. @internal */
  readonly refusals = new Map<string, number>()
  /** Told when many grants died within a short time. @internal */
  onBurst: ((count: number, seconds: number) => void) | undefined
  readonly #dying: Burst
  #keysChecked = false
  /** They hold nothing; making one for each request would be half of what finding somebody costs. */
  readonly #vaults = new BoundedMap<string, Vault>(KEPT_VAULTS)

  constructor(options: CredentialManagerOptions | Registration) {
    if (!(options instanceof Registration)) {
      checkKnown(options, REGISTRATION_OPTIONS)
      if (typeof options.storage !== 'object') {
        throw new OptionError('storage', 'is required: a credential store, such as fileStore({ path }).')
      }
    }
    this.registration = options instanceof Registration ? options : new Registration(options)
    const { provider, keys, name, clock } = this.registration
    this.sealer = new RecordSealer(keys, provider.issuer, provider.clientId)
    this.moves = new Moves(name, () => this.store)
    this.registry = keyRegistry(this.registration)
    this.#dying = new Burst(clock, (count, seconds) => {
      publish('grants-dying', () => ({ client: name, count, seconds }))
      this.onBurst?.(count, seconds)
    })
    this.keeper = new Keeper({
      ...this.registration,
      changed: (vault, change, account, remote) => {
        const { scopes } = account.tokens
        const subject = this.#subject(vault, account)
        if (change === 'authorized' || change === 'refreshed') publish(change, () => ({ ...subject, scopes }))
        if (change === 'revoked' && remote) publish('revoked', () => ({ ...subject, remote }))
        if (change === 'needs_reauthorization') this.#dying.add()
        const reason = account.dead && { reason: account.dead }
        // A listener of the app must not be able to break what already happened.
        Promise.resolve({ ...subject, change, ...reason, ...(remote && { remote }), scopes })
          .then(this.registration.onCredentialsChanged)
          .catch(() => {})
      },
      refreshFailed: (vault, account, { code }) => {
        this.registration.watch?.refreshFailed(code, account.dead)
        publish('refresh-failed', () => {
          const reason = account.dead && { reason: account.dead }
          return { ...this.#subject(vault, account), code, ...reason }
        })
      },
    })
  }

  /** The name of the registration. */
  get name(): string {
    return this.registration.name
  }

  /**
   * The stored credentials of a user, loaded.
   *
   * @param key what the web app's `userKey` returns, or without one the identity at the provider (`request.oauth2.user`)
   * @throws {OptionError} for something that is no key
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}
   * @throws {KeyInUseError} the first time, when stored records need a key that is not among `encryptionKeys`
   */
  async user(key: string): Promise<UserOAuth2> {
    await this.#checkKeys()
    return new UserOAuth2(this, this.vaultOf(checkKey(key, 'user(key)'))).load()
  }

  /**
   * Deletes everything that is stored for a user, then ends the grants at the provider. What the provider cannot be told at the
   * moment is kept, sealed, and tried again by `sweep()`.
   *
   * @param key as for `user`
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; nothing is deleted then
   */
  async deleteUser(key: string, options?: DeleteUserOptions): Promise<DeletedUser> {
    return deleteUser(this, checkKey(key, 'deleteUser(key)'), options)
  }

  /**
   * Ends every browser's link to a user, and every sign-in that is under way. What is stored stays, and so do the grants at the
   * provider: jobs go on. Other processes learn of it with the next read of the store (see `cacheMaxAge`).
   *
   * @param key as for `user`
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; nothing has ended then
   */
  async signOutEverywhere(key: string): Promise<void> {
    await new StoredSignIns(this).endAll(checkKey(key, 'signOutEverywhere(key)'))
  }

  /**
   * What has to be done now and then, best by one scheduled job: moves records to the first key, keeps unused grants alive where
   * `keepAlive` asks for it, tells the provider about deletions that it could not be told about, and removes markers that nobody
   * needs any more.
   *
   * @throws {OptionError} when the store cannot list its keys
   * @throws {StoreUnavailableError} when it cannot be reached
   * @example
   * ```ts
   * import type { CredentialManager } from 'fastify-oauth2client/credentials'
   *
   * async function nightly(manager: CredentialManager) {
   *   const report = await manager.sweep({ keepAlive: 7 * 86_400 })
   *   console.log(`${report.users} users, ${report.refreshed} refreshed, ${report.refreshFailed} not`)
   * }
   * ```
   */
  async sweep(options?: SweepOptions): Promise<SweepReport> {
    return sweep(this, options)
  }

  /** Resolves when nothing is under way any more. The store stays open: it is the caller's. */
  async close(): Promise<void> {
    await this.keeper.close()
  }

  /** The place of a user's record in the store. Distinct users have distinct places, whatever their keys contain. @internal */
  vaultOf(user: string): Vault {
    const known = this.#vaults.get(user)
    if (known) return known
    const vault = new StoreVault(this.store, this.sealer, this.prefix + encodeKey(user), this.registry)
    this.#vaults.set(user, vault)
    return vault
  }

  /** The user key of a vault, for messages to the app. @internal */
  userOf(vault: Vault): string {
    return vault.id.startsWith(this.prefix) ? decodeURIComponent(vault.id.slice(this.prefix.length)) : vault.id
  }

  /** What the keys of all users begin with. @internal */
  get prefix(): string {
    return `user/${this.name}/`
  }

  /** @throws {StoreRequiredError} with `storage: 'session'` @internal */
  get store(): CredentialStore {
    const { store } = this.registration
    if (!store) throw new StoreRequiredError()
    return store
  }

  /** What loggers get: keys and the client's secret are in here. */
  toJSON(): Record<string, unknown> {
    return { redacted: true, client: this.name }
  }

  /** An app is checked when it starts, where a store that does not answer is no reason not to. @internal */
  async checkKeysAtStart(log: RegistryLog): Promise<void> {
    await this.registry?.checkAtStart(this.registration.keys, log)
    this.#keysChecked = true
  }

  async #checkKeys(): Promise<void> {
    if (this.#keysChecked) return
    await this.registry?.check(this.registration.keys)
    this.#keysChecked = true
  }

  [inspect.custom](): string {
    return `CredentialManager ${this.name}`
  }

  #subject(vault: Vault, account: Account) {
    return {
      client: this.name,
      user: this.userOf(vault),
      account: account.identified ? account.id : undefined,
    }
  }
}

/** Where nobody can look at every record, nobody could ever say that a key is free again. */
function keyRegistry({ store, name, provider, clock }: Registration): KeyRegistry | undefined {
  if (!store?.list || store.shared === false) return undefined
  return new KeyRegistry({ store, name, issuer: provider.issuer, clientId: provider.clientId, clock })
}

/** @throws {OptionError} for something that is no key */
export function checkKey(key: unknown, where: string): string {
  if (typeof key === 'string' && key !== '') return key
  throw new OptionError(where, 'must be a non-empty string.')
}

const KEPT_VAULTS = 1_000

function encodeKey(user: string): string {
  try {
    return encodeURIComponent(user)
  } catch {
    throw new OptionError('userKey', 'gave text with unpaired surrogates, which no store can keep.')
  }
}
