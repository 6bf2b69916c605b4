/** The keys that a provider signs with: fetched when they are needed, remembered, fetched anew when the provider has new ones. */
import type { CompactJWSHeaderParameters, createLocalJWKSet, FlattenedJWSInput, JSONWebKeySet, JWK } from 'jose'
import { ProviderMetadataError, ProviderUnavailableError } from '../errors.js'
import { sanitizedCause } from './failure.js'
import { jose } from './libraries.js'
import type { Provider } from './provider.js'

/** Signatures that only the provider can make. With others (`HS256`, `none`) everybody could, or who knows our secret. */
const ASYMMETRIC: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]

/** OpenID Connect Core section 2: what is signed with unless something else was agreed. */
const AGREED = ['RS256']

/** @param supported what the provider's metadata lists */
export function signatureAlgorithms(supported: unknown): string[] {
  const listed: readonly unknown[] = Array.isArray(supported) ? supported : AGREED
  return ASYMMETRIC.filter((name) => listed.includes(name))
}

/** Milliseconds. A key that the provider withdrew is believed no longer than the first, or, while none can be fetched, the second. */
const MAXIMUM_AGE = 600_000
const LONGEST_AGE = 86_400_000
/** Milliseconds between two fetches that nothing came of, or that age alone is the reason for. */
const COOLDOWN = 30_000
/** Milliseconds between two fetches for a name that is not known, for tokens of either origin. */
const SEARCH_COOLDOWN = 60_000

/**
 * Whether a token came from the provider itself, in answer to us, or anybody may have sent it. Names of keys can be made up, and
 * whoever does that must not keep us from looking for the one that a sign-in needs.
 */
export type TokenOrigin = 'provider' | 'anybody'

type Key = (header: CompactJWSHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>

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
  readonly #searchedAt = { provider: Number.NEGATIVE_INFINITY, anybody: Number.NEGATIVE_INFINITY }
  #pending: Promise<Find> | undefined

  constructor(provider: Provider) {
    this.#provider = provider
  }

  /** As they were published last. */
  get keys(): readonly JWK[] {
    return this.#keys
  }

  /**
   * Verifies with the key that a token names. One that names none is tried with each that could be it.
   *
   * @throws what `verify` throws, and what {@link find} does
   */
  async verify<T>(from: TokenOrigin, verify: (key: Key) => Promise<T>): Promise<T> {
    try {
      return await verify((header, token) => this.find(from, header, token))
    } catch (error) {
      const { errors } = await jose()
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      for await (const key of error) {
        try {
          return await verify(async () => key)
        } catch (wrong) {
          if (!(wrong instanceof errors.JWSSignatureVerificationFailed)) throw wrong
        }
      }
      throw new errors.JWSSignatureVerificationFailed()
    }
  }

  /**
   * The key that a signature is to be checked with.
   *
   * @throws {ProviderUnavailableError} when there are no keys and none can be fetched
   * @throws {ProviderMetadataError} when the provider publishes none
   * @throws {errors.JWKSNoMatchingKey} {@link errors.JWKSMultipleMatchingKeys}
   */
  async find(from: TokenOrigin, header: CompactJWSHeaderParameters, token: FlattenedJWSInput) {
    const find = await this.#current()
    try {
      return await find(header, token)
    } catch (error) {
      const { errors } = await jose()
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      // Keys may be replaced right after they were fetched; whoever asks meanwhile shares what is under way.
      const searched = this.#within(this.#searchedAt[from], SEARCH_COOLDOWN)
      const searching = this.#pending ?? (searched ? undefined : this.#search(from))
      if (!searching) throw error
      return (await searching)(header, token)
    }
  }

  #search(from: TokenOrigin): Promise<Find> {
    this.#searchedAt[from] = this.#provider.clock()
    return this.#fetch()
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
    return this.#within(this.#triedAt, COOLDOWN)
  }

  #within(at: number, cooldown: number): boolean {
    const since = this.#provider.clock() - at
    // A clock that was set back is no reason to wait for longer.
    return since >= 0 && since < cooldown
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
    if (!uri)
      throw new ProviderMetadataError(
        `${issuer} names no jwks_uri, which verifying its signatures needs. Write it into "provider".`,
      )
    this.#triedAt = provider.clock()
    try {
      const response = await provider.boundedFetch(uri, { headers: { accept: 'application/json' } })
      if (response.status !== 200) throw new TypeError(`HTTP ${response.status}`)
      const published = (await response.json()) as JSONWebKeySet
      const { createLocalJWKSet } = await jose()
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
