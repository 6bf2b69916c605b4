/**
 * Grants that are gone here and that the provider has yet to be told about. Written down, sealed, before the user's record is
 * deleted: a crash or an outage in between must not leave a grant alive that nobody knows of any more.
 */
import { randomUUID } from 'node:crypto'
import { endGrant, type RevocationOutcome } from '../../flows/revocation.js'
import { unreadable } from '../../keys/key-ring.js'
import type { Registration } from '../../registration/registration.js'
import type { CredentialStore } from '../../storage/storage.js'
import type { CredentialManager } from '../manager.js'
import { type KeyRegistrar, reach } from '../vault.js'

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
  readonly #registry: KeyRegistrar | undefined

  constructor({ registration, store, registry }: Pick<CredentialManager, 'registration' | 'store' | 'registry'>) {
    this.#registration = registration
    this.#store = store
    this.#registry = registry
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
    const { keys } = this.#registration
    await this.#registry?.register(keys.kids[0])
    const value = keys.seal('revocation', this.#context(key), JSON.stringify(grants))
    await reach(() => this.#store.put(key, value))
  }

  /** Tells the provider about each. Never rejects. `left` is what it could not be told, which may be under another token by now. */
  async tell(grants: readonly EndingGrant[]): Promise<{ outcomes: RevocationOutcome[]; left: EndingGrant[] }> {
    const outcomes: RevocationOutcome[] = []
    const left: EndingGrant[] = []
    // One after the other: a provider that is down is not made worse by a user with many accounts.
    for (const grant of grants) {
      const { outcome, ...token } = await endGrant(this.#registration.provider, grant.token, grant.hint)
      outcomes.push(outcome)
      if (outcome === 'failed') left.push({ ...grant, ...token })
    }
    return { outcomes, left }
  }

  /** Keeps what is left, if anything is. Also when that is all: it is then sealed with the first key, however long it waits. */
  async keepLeft(key: string, left: readonly EndingGrant[]): Promise<void> {
    if (left.length === 0) await reach(() => this.#store.delete(key))
    else await this.keep(key, left)
  }

  /** @throws {CredentialsUnreadableError} {@link StoreUnavailableError} */
  async read(key: string): Promise<EndingGrant[]> {
    const stored = await reach(() => this.#store.get(key))
    if (!stored) return []
    try {
      return JSON.parse(this.#registration.keys.open('revocation', this.#context(key), stored.value))
    } catch (cause) {
      throw unreadable(cause)
    }
  }

  #context(key: string): string[] {
    const { issuer, clientId } = this.#registration.provider
    return [issuer, clientId, key]
  }
}
