/** The keys that a provider signs with: fetched when they are needed, remembered, fetched anew when the provider has new ones. */
import {
  type CompactJWSHeaderParameters,
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWK,
} from 'jose'
import { ProviderMetadataError, ProviderUnavailableError } from '../errors.js'
import { sanitizedCause } from './failure.js'
import type { Provider } from './provider.js'

/** Milliseconds. A key that the provider withdrew is believed no longer than the first, or, while none can be fetched, the second. */
const MAXIMUM_AGE = 600_000
const LONGEST_AGE = 86_400_000
/** Milliseconds between two fetches. Anybody can make up names of keys, and must not make us ask the provider for each. */
const COOLDOWN = 30_000

const known = new WeakMap<Provider, KeySet>()

/** The keys of a provider; there is one set for each {@link Provider}. */
export function keySetOf(provider: Provider): KeySet {
  const set = known.get(provider) ?? new KeySet(provider)
  known.set(provider, set)
  return set
}

type Find = ReturnType<typeof createLocalJWKSet>

export class KeySet {
  readonly #provider: Provider
  #find: Find | undefined
  #keys: readonly JWK[] = []
  #fetchedAt = 0
  #failure: unknown
  #triedAt = Number.NEGATIVE_INFINITY
  #pending: Promise<Find> | undefined

  constructor(provider: Provider) {
    this.#provider = provider
  }

  /** As they were published last. */
  get keys(): readonly JWK[] {
    return this.#keys
  }

  /**
   * The key that a signature is to be checked with.
   *
   * @throws {ProviderUnavailableError} when there are no keys and none can be fetched
   * @throws {ProviderMetadataError} when the provider publishes none
   * @throws {errors.JWKSNoMatchingKey} {@link errors.JWKSMultipleMatchingKeys}
   */
  async find(header: CompactJWSHeaderParameters, token: FlattenedJWSInput) {
    const find = await this.#current()
    try {
      return await find(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || this.#coolingDown()) throw error
      return (await this.#fetch())(header, token)
    }
  }

  async #current(): Promise<Find> {
    const find = this.#find
    const age = this.#provider.clock() - this.#fetchedAt
    if (!find || age >= LONGEST_AGE) return this.#fetchUnlessTried()
    if (age < MAXIMUM_AGE || this.#coolingDown()) return find
    return this.#fetch().catch(() => find)
  }

  /** While there are none, each token would be a request to a provider that is in trouble. */
  #fetchUnlessTried(): Promise<Find> {
    const failed = !this.#pending && this.#failure !== undefined && this.#coolingDown()
    return failed ? Promise.reject(new ProviderUnavailableError({ cause: this.#failure })) : this.#fetch()
  }

  #coolingDown(): boolean {
    const since = this.#provider.clock() - this.#triedAt
    // A clock that was set back is no reason to wait for longer.
    return since >= 0 && since < COOLDOWN
  }

  #fetch(): Promise<Find> {
    this.#pending ??= this.#request().finally(() => {
      this.#pending = undefined
    })
    return this.#pending
  }

  async #request(): Promise<Find> {
    const provider = this.#provider
    const { jwks_uri: uri, issuer } = await provider.metadata()
    if (!uri) throw new ProviderMetadataError(`${issuer} names no jwks_uri, which verifying ID tokens needs.`)
    this.#triedAt = provider.clock()
    try {
      const response = await provider.boundedFetch(uri, { headers: { accept: 'application/json' } })
      if (response.status !== 200) throw new TypeError(`HTTP ${response.status}`)
      const published = (await response.json()) as JSONWebKeySet
      this.#find = createLocalJWKSet(published)
      this.#keys = published.keys
    } catch (cause) {
      this.#failure = sanitizedCause(cause) ?? new TypeError('no keys')
      throw new ProviderUnavailableError({ cause: this.#failure })
    }
    this.#failure = undefined
    this.#fetchedAt = this.#triedAt
    return this.#find
  }
}
