/** A provider as we use it: its metadata, found once, and our registration there. Entered from `flows/`. */
import { inspect } from 'node:util'
import * as client from 'openid-client'
import { OptionError, ProviderMetadataError } from '../errors.js'
import { discover } from './discovery.js'
import { boundedFetch, type Fetch, isSecureUrl, jsonRequests } from './http.js'
import { forTenants, TENANT } from './issuers.js'
import type { ProviderMetadata, ProviderOptions, RotationProfile } from './preset.js'
import { ScopeSet } from './scopes.js'

/** How we prove who we are at the token endpoint. RFC 6749 section 2.3, RFC 7523, RFC 8705. */
export type ClientAuthentication =
  | 'client_secret_post'
  | 'client_secret_basic'
  | 'client_secret_basic_raw'
  | 'private_key_jwt'
  | 'tls_client_auth'
  | 'none'
  | client.ClientAuth

/** What it takes to talk to a provider. */
export interface ProviderConfig {
  readonly provider: ProviderOptions
  readonly clientId: string
  readonly clientSecret?: string | undefined
  /** Default: what the provider asks for, else `client_secret_post`, with a secret; `none` without. */
  readonly clientAuthentication?: ClientAuthentication | undefined
  /** Outbound HTTP. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /** One deadline for every call, in ms. Default 10,000. */
  readonly timeout?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

const ENDPOINTS = [
  'authorization_endpoint',
  'token_endpoint',
  'jwks_uri',
  'userinfo_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'end_session_endpoint',
  'device_authorization_endpoint',
] as const

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
  readonly options: ProviderOptions
  readonly clientId: string
  readonly clientSecret: string | undefined
  readonly fetch: Fetch
  readonly timeout: number
  readonly clock: () => number
  readonly scopes: ScopeSet
  readonly #authentication: client.ClientAuth
  #configuration: Promise<client.Configuration> | undefined

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
    this.fetch = config.fetch ?? ((input, init) => globalThis.fetch(input, init))
    this.#authentication = clientAuthentication(config)
    checkNames(config.provider)
    checkRefresh(config.provider.refresh)
    checkEndpoint('provider.issuer', config.provider.issuer)
    for (const name of ENDPOINTS) {
      const value = config.provider[name]
      if (value !== undefined) checkEndpoint(`provider.${name}`, value)
    }
    if (!this.options.authorization_endpoint !== !this.options.token_endpoint) {
      throw new OptionError(
        'provider',
        'needs both authorization_endpoint and token_endpoint, or neither for discovery.',
      )
    }
  }

  get issuer(): string {
    return this.options.issuer
  }

  /** Whether an issuer is this provider, by its own or by another name. */
  isIssuer(issuer: string): boolean {
    return issuer === this.options.issuer || this.options.validIssuer?.(issuer) === true
  }

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
  configuration(): Promise<client.Configuration> {
    this.#configuration ??= this.#configure().catch((error: unknown) => {
      this.#configuration = undefined
      throw error
    })
    return this.#configuration
  }

  async metadata(): Promise<ProviderMetadata> {
    return (await this.configuration()).serverMetadata() as ProviderMetadata
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
    const fetch = boundedFetch(this.fetch, this.timeout)
    return (input, init) => fetch(String(input), { method: 'GET', ...init } as never)
  }

  async #configure(): Promise<client.Configuration> {
    const written = staticMetadata(this.options)
    const metadata = written.token_endpoint ? written : await discover(this, written)
    for (const name of ENDPOINTS) {
      const value = metadata[name]
      if (typeof value === 'string' && !(URL.canParse(value) && isSecureUrl(new URL(value)))) {
        throw new ProviderMetadataError(`${name} of ${metadata.issuer} is not an HTTPS URL.`)
      }
    }
    if (typeof metadata.token_endpoint !== 'string') {
      throw new ProviderMetadataError(`${metadata.issuer} names no token_endpoint, which every grant needs.`)
    }
    const methods = metadata.code_challenge_methods_supported
    if (Array.isArray(methods) && methods.length > 0 && !methods.includes('S256')) {
      throw new ProviderMetadataError(`${metadata.issuer} offers PKCE, but not with S256.`)
    }
    const registration = {
      ...(this.clientSecret === undefined ? {} : { client_secret: this.clientSecret }),
      [client.clockTolerance]: CLOCK_TOLERANCE,
    }
    const configuration = metadata.issuer.includes(TENANT)
      ? await forTenants(metadata, this.clientId, registration, this.#authentication)
      : new client.Configuration(metadata as client.ServerMetadata, this.clientId, registration, this.#authentication)
    // The last before the wire: what an exchange puts into its form is written as JSON too.
    const fetch = this.options.requestBody === 'json' ? jsonRequests(this.fetch) : this.fetch
    configuration[client.customFetch] = boundedFetch(fetch, this.timeout) as client.CustomFetch
    // The deadline is in boundedFetch: the library's takes seconds, and fails where they are no whole milliseconds.
    configuration.timeout = 0
    // The token endpoint's TLS vouches for an ID token only as far as TLS ends where we think it does.
    if (metadata.jwks_uri) client.enableNonRepudiationChecks(configuration)
    // Plain HTTP was refused above for every endpoint that is not on this machine.
    client.allowInsecureRequests(configuration)
    return configuration
  }
}

function staticMetadata(options: ProviderOptions): ProviderMetadata {
  const metadata = Object.entries(options).filter(([name]) => !OWN.includes(name))
  return Object.fromEntries(metadata) as unknown as ProviderMetadata
}

/** Members of a provider that are ours; all others are metadata, which RFC 8414 spells in lower case. */
const OWN = [
  'scopes',
  'apiOrigins',
  'defaultScopes',
  'identityScopes',
  'scopeParam',
  'scopeDelimiter',
  'authorizationParams',
  'incrementalParams',
  'offline',
  'refresh',
  'clientAuthentication',
  'requestBody',
  'validIssuer',
  'identity',
  'issuerAliases',
  'introspect',
  'tokenClaims',
  'normalizeTokenResponse',
  'errors',
  'revoke',
]

function checkNames(provider: ProviderOptions): void {
  for (const name of Object.keys(provider)) {
    if (OWN.includes(name) || /^[a-z\d_]+$/.test(name)) continue
    const spelled = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const known = (ENDPOINTS as readonly string[]).includes(spelled)
    const all = `is not known. Known are metadata as RFC 8414 spells them, and: ${OWN.join(', ')}.`
    throw new OptionError(`provider.${name}`, known ? `is called "${spelled}".` : all)
  }
}

function checkRefresh({ rotation = 'strict', grace = 0 }: Partial<RotationProfile> = {}): void {
  if (!ROTATIONS.includes(rotation)) {
    throw new OptionError('provider.refresh.rotation', `must be one of ${ROTATIONS.map((r) => `"${r}"`).join(', ')}.`)
  }
  if (!(Number.isFinite(grace) && grace >= 0)) {
    throw new OptionError('provider.refresh.grace', 'must be a number of seconds.')
  }
}

const ROTATIONS: readonly RotationProfile['rotation'][] = ['none', 'rotating', 'strict']

function checkEndpoint(option: string, value: unknown): void {
  if (typeof value !== 'string' || !URL.canParse(value)) {
    throw new OptionError(option, 'must be an absolute URL, such as "https://login.example.com".')
  }
  const url = new URL(value)
  if (!isSecureUrl(url)) {
    throw new OptionError(option, `must use https (http only on localhost): ${url.origin}`)
  }
}

function clientAuthentication({
  provider,
  clientId,
  clientSecret,
  clientAuthentication: chosen,
}: ProviderConfig): client.ClientAuth {
  const method = chosen ?? (clientSecret ? (provider.clientAuthentication ?? 'client_secret_post') : 'none')
  if (typeof method === 'function') return method
  const secret = () => {
    if (!clientSecret) throw new OptionError('clientSecret', `is required for clientAuthentication "${method}".`)
    return clientSecret
  }
  switch (method) {
    case 'client_secret_post':
      return client.ClientSecretPost(secret())
    case 'client_secret_basic':
      return client.ClientSecretBasic(secret())
    case 'client_secret_basic_raw': {
      // Many servers do not decode what RFC 6749 section 2.3.1 makes clients encode.
      const value = `Basic ${Buffer.from(`${clientId}:${secret()}`).toString('base64')}`
      return (_as, _client, _body, headers) => headers.set('authorization', value)
    }
    case 'tls_client_auth':
      return client.TlsClientAuth()
    case 'none':
      return client.None()
    case 'private_key_jwt':
      throw new OptionError(
        'clientAuthentication',
        '"private_key_jwt" needs a key: pass PrivateKeyJwt(key) of openid-client instead of the name.',
      )
    default:
      throw new OptionError(
        'clientAuthentication',
        'must be client_secret_post, client_secret_basic, client_secret_basic_raw, private_key_jwt, tls_client_auth or none.',
      )
  }
}
