/**
 * Grants that are gone here and that the provider has yet to be told about. Written down, sealed, before the user's record is
 * deleted: a crash or an outage in between must not leave a grant alive that nobody knows of any more.
 */
import { randomUUID } from 'node:crypto'
import { type RevocationOutcome, revokeToken } from '../../flows/revocation.js'
import { unreadable } from '../../keys/key-ring.js'
import type { Registration } from '../../registration/registration.js'
import type { CredentialStore } from '../../storage/storage.js'
import { reach } from '../vault.js'

/** A grant that is to end. */
export interface EndingGrant {
  /** The identity at the provider. */
  readonly account: string
  readonly token: string
  readonly hint: 'refresh_token' | 'access_token'
}

export class PendingRevocations {
  readonly #registration: Registration
  readonly #store: CredentialStore

  constructor(registration: Registration, store: CredentialStore) {
    this.#registration = registration
    this.#store = store
  }

  /** What the keys of all of them begin with. */
  get prefix(): string {
    return `revoke/${this.#registration.name}/`
  }

  newKey(): string {
    return this.prefix + randomUUID()
  }

  /** Writes them down under a key, in the place of what was there. */
  async keep(key: string, grants: readonly EndingGrant[]): Promise<void> {
    const value = await this.#registration.keys.seal('revocation', this.#context(key), JSON.stringify(grants))
    await reach(() => this.#store.put(key, value))
  }

  /** Tells the provider about each. Never rejects. */
  async tell(grants: readonly EndingGrant[]): Promise<RevocationOutcome[]> {
    const outcomes: RevocationOutcome[] = []
    // One after the other: a provider that is down is not made worse by a user with many accounts.
    for (const { token, hint } of grants) outcomes.push(await revokeToken(this.#registration.provider, token, hint))
    return outcomes
  }

  /** Of what the provider was told about, keeps what it could not be told. */
  async keepFailed(key: string, grants: readonly EndingGrant[], outcomes: readonly RevocationOutcome[]): Promise<void> {
    const failed = grants.filter((_, index) => outcomes[index] === 'failed')
    if (failed.length === 0) await reach(() => this.#store.delete(key))
    // Also when nothing changed: then it is sealed with the first key, however long the provider stays away.
    else await this.keep(key, failed)
  }

  /** @throws {CredentialsUnreadableError} {@link StoreUnavailableError} */
  async read(key: string): Promise<EndingGrant[]> {
    const stored = await reach(() => this.#store.get(key))
    if (!stored) return []
    try {
      return JSON.parse(await this.#registration.keys.open('revocation', this.#context(key), stored.value))
    } catch (cause) {
      throw unreadable(cause)
    }
  }

  #context(key: string): string[] {
    const { issuer, clientId } = this.#registration.provider
    return [issuer, clientId, key]
  }
}
