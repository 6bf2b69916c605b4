/** A provider as we use it: its metadata, found once, and our registration there. Entered from `flows/`. */
import { inspect } from 'node:util'
import type { ClientAuth, Configuration, CustomFetch, ServerMetadata } from 'openid-client'
import { OptionError, ProviderMetadataError } from '../errors.js'
import type { Watch } from '../telemetry/watch.js'
import { watchedFetch } from '../telemetry/watched-fetch.js'
import { type ClientAuthentication, clientAuthentication, isCertificate } from './client-authentication.js'
import { discover } from './discovery.js'
import { DPoP, type DPoPOption } from './dpop.js'
import { boundedFetch, type Exchange, type Fetch, isSecureUrl, jsonRequests } from './http.js'
import { forTenants, TENANT } from './issuers.js'
import { openidClient } from './libraries.js'
import { Lines } from './lines.js'
import type { ProviderMetadata, ProviderOptions, RotationProfile } from './preset.js'
import { checkKeyAuthentication, Profile, type ProfileOptions } from './profile.js'
import { checkProvider, ENDPOINTS, staticMetadata } from './provider-options.js'
import { ScopeSet } from './scopes.js'

/** What it takes to talk to a provider. For {@link Provider}. */
export interface ProviderConfig extends ProfileOptions {
  /** A preset, `{ issuer }` for discovery, or endpoints. */
  readonly provider: ProviderOptions
  /** The id that the provider gave this application. */
  readonly clientId: string
  /** Its secret. Default: none, as for public clients and those with a `clientKey`. */
  readonly clientSecret?: string | undefined
  /**
   * Default, with a secret: what the provider's options say; `client_secret_basic` where its metadata lists that and not
   * `client_secret_post`; else `client_secret_post`. Without: `private_key_jwt` with a `clientKey`, else `none`.
   */
  readonly clientAuthentication?: ClientAuthentication | undefined
  /** Whether tokens are bound to a key that is made for each authorization, and what it signs with. RFC 9449. Default `false`. */
  readonly dpop?: DPoPOption | undefined
  /**
   * Whether tokens are bound to the certificate that `fetch` presents: then the provider's endpoints for clients with
   * certificates are used, whatever `clientAuthentication` is. RFC 8705 sections 3 and 5. Default `false`.
   */
  readonly certificateBoundTokens?: boolean | undefined
  /** Outbound HTTP. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /** One deadline for every call, in ms. Default 10,000. */
  readonly timeout?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
  /** Told of every request. @internal */
  readonly watch?: Watch | undefined
}

/** Seconds that a provider's clock and ours may differ. */
export const CLOCK_TOLERANCE = 60

/**
 * An authorization server together with our registration there.
 *
 * @example
 * ```ts
 * import { Provider } from 'fastify-oauth2client/flows'
 * import { google } from 'fastify-oauth2client/providers'
 *
 * const provider = new Provider({ provider: google(), clientId: 'id', clientSecret: 'secret' })
 * ```
 */
export class Provider {
  /** What is known about the provider besides its metadata. */
  readonly options: ProviderOptions
  /** Our id there. */
  readonly clientId: string
  /** Our secret there; `undefined` for clients without one. */
  readonly clientSecret: string | undefined
  /** Outbound HTTP, without a deadline of its own. */
  readonly fetch: Fetch
  /** One deadline for every call, in milliseconds. */
  readonly timeout: number
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** How scopes compare at this provider. */
  readonly scopes: ScopeSet
  /** How authorization requests and their answers are protected. */
  readonly profile: Profile
  /** Keys and proofs for tokens that are bound to them. */
  readonly dpop: DPoP
  /** Whether what we send to the provider is sent over connections with a client certificate. */
  readonly #mutualTls: boolean
  readonly #authentication: ClientAuth
  #configuration: Promise<Configuration> | undefined
  #isKnown = false
  #verifying: Promise<Configuration> | undefined
  #metadata: ProviderMetadata | undefined
  readonly #lines = new Lines(async (current) => this.#configurationOf(await this.metadata(), current))
  readonly #verifyingLines = new Lines((current) => this.#verifyAnswers(current))

  /** @throws {OptionError} when the options can never work */
  constructor(config: ProviderConfig) {
    if (typeof config?.provider !== 'object' || config.provider === null) {
      throw new OptionError(
        'provider',
        'must be a preset, such as google(), or { issuer: "https://login.example.com" }.',
      )
    }
    if (typeof config.clientId !== 'string' || config.clientId === '') {
      throw new OptionError('clientId', 'must be a non-empty string: the id that the provider gave this application.')
    }
    this.options = config.provider
    this.clientId = config.clientId
    this.clientSecret = config.clientSecret
    this.timeout = config.timeout ?? 10_000
    this.clock = config.clock ?? Date.now
    this.scopes = new ScopeSet(config.provider.scopes)
    // Resolved at each call, so that a global fetch that was replaced later (instrumentation, tests) is the one used.
    const fetch: Fetch = config.fetch ?? ((input, init) => globalThis.fetch(input, init))
    this.fetch = config.watch ? watchedFetch(fetch, config.watch, () => this.knownMetadata) : fetch
    this.profile = new Profile(config, this.clock)
    this.dpop = new DPoP(config.dpop, this.clock)
    this.#mutualTls = config.certificateBoundTokens === true || isCertificate(config.clientAuthentication)
    this.#authentication = clientAuthentication(config, this.profile)
    checkProvider(config.provider)
  }

  /** As it is configured; with tenants, ID tokens may name another. */
  get issuer(): string {
    return this.options.issuer
  }

  /** Whether an issuer is this provider, by its own or by another name. */
  isIssuer(issuer: string): boolean {
    return issuer === this.options.issuer || this.options.validIssuer?.(issuer) === true
  }

  /** How it treats refresh tokens when they are used; the strictest kind where nobody said. */
  get rotation(): RotationProfile['rotation'] {
    // Whoever is unknown is taken for the strictest kind: a mistake in the other direction ends people's grants.
    return this.options.refresh?.rotation ?? 'strict'
  }

  /** Milliseconds for which a refresh token that was replaced still works. */
  get grace(): number {
    return (this.options.refresh?.grace ?? 0) * 1000
  }

  /**
   * What `openid-client` needs. The first use looks the metadata up; a failure is not remembered.
   *
   * @throws {ProviderUnavailableError} when the provider cannot be reached
   * @throws {ProviderMetadataError} when its metadata can never work
   */
  configuration(): Promise<Configuration> {
    this.#configuration ??= this.#configure().then(
      (configuration) => {
        this.#isKnown = true
        return configuration
      },
      (error: unknown) => {
        this.#configuration = undefined
        throw error
      },
    )
    return this.#configuration
  }

  /**
   * The same for answers that may be JWTs themselves (userinfo, introspection): the library verifies their signatures. Those of
   * ID tokens are verified by us, with keys that are fetched anew as soon as a token names one that is not known.
   */
  verifyingConfiguration(): Promise<Configuration> {
    this.#verifying ??= this.#verifyAnswers().catch((error: unknown) => {
      this.#verifying = undefined
      throw error
    })
    return this.#verifying
  }

  async #verifyAnswers(current?: () => Exchange | undefined): Promise<Configuration> {
    const metadata = await this.metadata()
    const configuration = await this.#configurationOf(metadata, current)
    if (metadata.jwks_uri) (await openidClient()).enableNonRepudiationChecks(configuration)
    return configuration
  }

  /** Whether its metadata was had before: asking for it then takes no request. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** Its metadata as far as that is known by now. */
  get knownMetadata(): ProviderMetadata {
    return this.#metadata ?? staticMetadata(this.options)
  }

  /** Its metadata, the same object each time. */
  async metadata(): Promise<ProviderMetadata> {
    const configuration = await this.configuration()
    // The library copies all of it for whoever asks.
    this.#metadata ??= Object.freeze(configuration.serverMetadata() as ProviderMetadata)
    return this.#metadata
  }

  /**
   * Runs `use`, whose requests are one exchange, so that `exchange` afterwards tells what the provider answered.
   *
   * @param options.verifying whether the answer may be a JWT: see {@link verifyingConfiguration}
   */
  async exchange<T>(
    exchange: Exchange,
    use: (configuration: Configuration) => Promise<T>,
    { verifying = false } = {},
  ): Promise<T> {
    return (verifying ? this.#verifyingLines : this.#lines).lend(exchange, use)
  }

  /** What loggers get: without the client's secret. */
  toJSON(): Record<string, unknown> {
    return { issuer: this.issuer, clientId: this.clientId }
  }

  [inspect.custom](): string {
    return `Provider ${this.issuer}`
  }

  /** A `fetch` with our limits, for one-off requests such as a preset's `identity`. */
  get boundedFetch(): Fetch {
    return this.observedFetch()
  }

  /** The same for a request that belongs to an exchange. */
  observedFetch(exchange?: Exchange): Fetch {
    const fetch = boundedFetch(this.fetch, this.timeout, () => exchange)
    return (input, init) => fetch(String(input), { method: 'GET', ...init } as never)
  }

  async #configure(): Promise<Configuration> {
    const written = staticMetadata(this.options)
    const metadata = written.token_endpoint ? written : await discover(this, written)
    // RFC 8705 section 5: the same endpoints under the names where certificates are asked for.
    const aliases = Object.entries(metadata.mtls_endpoint_aliases ?? {})
    for (const [name, value] of [...ENDPOINTS.map((name) => [name, metadata[name]] as const), ...aliases]) {
      const url: unknown = value ?? metadata.issuer
      if (!(typeof url === 'string' && URL.canParse(url) && isSecureUrl(new URL(url)))) {
        throw new ProviderMetadataError(`${name} of ${metadata.issuer} is not an HTTPS URL.`)
      }
    }
    if (typeof metadata.token_endpoint !== 'string') {
      throw new ProviderMetadataError(
        `${metadata.issuer} names no token_endpoint, which every grant needs. Write it into "provider".`,
      )
    }
    const methods = metadata.code_challenge_methods_supported
    if (Array.isArray(methods) && methods.length > 0 && !methods.includes('S256')) {
      throw new ProviderMetadataError(`${metadata.issuer} offers PKCE, but not with S256.`)
    }
    const { key } = this.profile
    if (key && this.#authentication === key.authenticate) checkKeyAuthentication(key, metadata)
    return this.#configurationOf(metadata)
  }

  async #configurationOf(metadata: ProviderMetadata, current?: () => Exchange | undefined): Promise<Configuration> {
    const client = await openidClient()
    const registration = {
      ...(this.clientSecret === undefined ? {} : { client_secret: this.clientSecret }),
      [client.clockTolerance]: CLOCK_TOLERANCE,
      ...(this.#mutualTls ? { use_mtls_endpoint_aliases: true } : {}),
    }
    const configuration = metadata.issuer.includes(TENANT)
      ? await forTenants(metadata, this.clientId, registration, this.#authentication)
      : new client.Configuration(metadata as ServerMetadata, this.clientId, registration, this.#authentication)
    // The last before the wire: what an exchange puts into its form is written as JSON too.
    const fetch = this.options.requestBody === 'json' ? jsonRequests(this.fetch) : this.fetch
    configuration[client.customFetch] = boundedFetch(fetch, this.timeout, current) as CustomFetch
    // The deadline is in boundedFetch: the library's takes seconds, and fails where they are no whole milliseconds.
    configuration.timeout = 0
    // Plain HTTP was refused above for every endpoint that is not on this machine.
    client.allowInsecureRequests(configuration)
    return configuration
  }
}
