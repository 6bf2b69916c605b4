/**
 * Who we are at a provider, and where its credentials are kept: what the plugin and a `CredentialManager` of its own have in
 * common. The only reader of these options.
 */
import { inspect } from 'node:util'
import { OptionError } from '../errors.js'
import type { CredentialsChanged } from '../events.js'
import type { ClientSecrets } from '../flows/client-secrets.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { ClientAuthentication } from '../provider/client-authentication.js'
import type { DPoPOption } from '../provider/dpop.js'
import type { Fetch } from '../provider/http.js'
import type { ProviderOptions } from '../provider/preset.js'
import type { ProfileOptions } from '../provider/profile.js'
import type { Provider } from '../provider/provider.js'
import type { CredentialStore } from '../storage/storage.js'
import { harmless } from '../telemetry/harmless.js'
import type { Telemetry, Watch } from '../telemetry/watch.js'
import { watchedStore } from '../telemetry/watched-store.js'
import { type Kind, numberOf } from './checks.js'
import { resolveKeys } from './keys.js'
import { resolveOrigins } from './origins.js'
import { resolveProvider } from './provider.js'

/**
 * Options that say who we are and where credentials are kept. `…Expiry` and `…Age` are seconds, `timeout` is
 * milliseconds. {@link CredentialManager} takes them with a store, {@link fastifyOAuth2Client} among others.
 */
export interface RegistrationOptions extends ProfileOptions {
  /** Tells several registrations apart: part of every key in the store. Default `'oauth2'`. */
  readonly name?: string
  /** A preset, `{ issuer }` for discovery, or endpoints. Default: from the client secrets file. */
  readonly provider?: ProviderOptions
  /** The id that the provider gave this application. Default: from the client secrets file. */
  readonly clientId?: string
  /**
   * Its secret. Default: from the client secrets file; without any, the client is a public one unless it has a
   * `clientKey`.
   */
  readonly clientSecret?: string
  /** Path of a `client_secrets.json`. `clientId` and `clientSecret` win over what it says. */
  readonly clientSecretsFile?: string
  /**
   * RFC 6749 section 2.3. Default with a secret: what the preset says; else `client_secret_basic` where the metadata lists that
   * and not `client_secret_post`, which it is otherwise. With `clientKey` alone `private_key_jwt`; else `none`.
   */
  readonly clientAuthentication?: ClientAuthentication
  /**
   * Whether tokens are bound to a key of our own, kept with the credentials, so that a stolen token is of no use: `true`, or the
   * algorithm of the keys. Where the provider answers with a token that is not bound, that is an error. RFC 9449. Default `false`.
   */
  readonly dpop?: DPoPOption
  /**
   * Whether tokens are bound to the TLS certificate that `fetch` presents, which the provider calls
   * `tls_client_certificate_bound_access_tokens`. RFC 8705 section 3. Default `false`; the provider's endpoints for clients
   * with certificates are used with `clientAuthentication` `tls_client_auth` and `self_signed_tls_client_auth` too.
   */
  readonly certificateBoundTokens?: boolean
  /** A credential store, or `'session'` where there are sessions. */
  readonly storage?: 'session' | CredentialStore
  /** The first key seals, all of them open. Required for shared stores. Default: derived from the client secret. */
  readonly encryptionKeys?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** Where the access token may be sent, besides the preset's origins and the issuer's. `https://*.example.com` is any subdomain. */
  readonly allowedOrigins?: readonly string[]
  /** Called after stored credentials changed. What it throws is ignored. */
  readonly onCredentialsChanged?: (event: CredentialsChanged) => void | Promise<void>
  /** Seconds before expiry at which a new access token is fetched, jittered. Default 60. */
  readonly refreshBeforeExpiry?: number
  /**
   * Whether a request stops waiting for an early refresh that takes long, which then goes on after the response. Set it to
   * `false` on hosts that freeze the process between requests. Default `true`.
   */
  readonly backgroundRefresh?: boolean
  /**
   * Seconds for which a guard may use what this process last read from the store: how long a revocation by another process
   * can go unseen. Access tokens only; a refusal is always confirmed by reading. 0 turns it off. Default 2, and always 0 for
   * a store that is not `shared`, which nobody else writes to.
   */
  readonly cacheMaxAge?: number
  /** Outbound HTTP. Default: the global `fetch`. */
  readonly fetch?: Fetch
  /** One deadline in milliseconds for each call to the provider. Default 10,000. */
  readonly timeout?: number
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: () => number
  /**
   * Who is told how long things take and what comes of them. Default: in the plugin, OpenTelemetry where its SDK was started before;
   * elsewhere nobody. `false`: nobody.
   */
  readonly telemetry?: Telemetry | false
}

/** The list of known options doubles as the check of their types. */
export const REGISTRATION_OPTIONS: Readonly<Record<keyof RegistrationOptions, Kind>> = {
  name: 'string',
  provider: 'object',
  clientId: 'string',
  clientSecret: 'string',
  clientSecretsFile: 'string',
  clientAuthentication: 'any',
  clientKey: 'any',
  pushedAuthorizationRequests: 'boolean',
  signedRequestObjects: 'boolean',
  responseMode: 'any',
  dpop: 'any',
  certificateBoundTokens: 'boolean',
  storage: 'any',
  encryptionKeys: 'any',
  allowedOrigins: 'any',
  onCredentialsChanged: 'function',
  refreshBeforeExpiry: 'any',
  backgroundRefresh: 'boolean',
  cacheMaxAge: 'any',
  fetch: 'function',
  timeout: 'any',
  clock: 'function',
  telemetry: 'any',
}

/** {@link RegistrationOptions} after every decision was made. */
export class Registration {
  readonly name: string
  readonly provider: Provider
  readonly clientSecrets: ClientSecrets | undefined
  /** `undefined` stands for the session. */
  readonly store: CredentialStore | undefined
  readonly keys: KeyRing
  /** For credentials in sessions, which may be from before there was a store. */
  readonly sessionKeys: KeyRing
  /** Whether the keys end with the process. */
  readonly temporaryKeys: boolean
  readonly allowedOrigins: readonly string[]
  readonly onCredentialsChanged: RegistrationOptions['onCredentialsChanged']
  readonly refreshBeforeExpiry: number
  readonly backgroundRefresh: boolean
  readonly cacheMaxAge: number
  readonly clock: () => number
  readonly watch: Watch | undefined

  /**
   * @param telemetry who watches, where nobody wrote that down
   * @throws {OptionError} {@link ClientSecretsError}
   */
  constructor(raw: RegistrationOptions, telemetry = raw.telemetry) {
    this.name = raw.name ?? 'oauth2'
    if (!/^[A-Za-z_$][\w$]*$/.test(this.name))
      throw new OptionError('name', 'must be a JavaScript identifier, such as "github".')
    const watch = resolveTelemetry(telemetry)?.watch(this.name)
    this.watch = watch && harmless(watch)
    const { provider, clientSecrets } = resolveProvider(raw, raw.timeout, this.watch)
    this.clientSecrets = clientSecrets
    this.provider = provider
    this.clock = this.provider.clock
    const store = resolveStore(raw.storage)
    this.store = store && this.watch ? watchedStore(store, this.watch) : store
    const { keys, sessionKeys, temporaryKeys } = resolveKeys(raw, provider.clientSecret)
    this.keys = keys
    this.sessionKeys = sessionKeys
    this.temporaryKeys = temporaryKeys
    this.allowedOrigins = resolveOrigins(raw.allowedOrigins, provider.options)
    this.onCredentialsChanged = raw.onCredentialsChanged
    this.refreshBeforeExpiry = numberOf('refreshBeforeExpiry', raw.refreshBeforeExpiry, 0) ?? 60
    this.backgroundRefresh = raw.backgroundRefresh ?? true
    const cacheMaxAge = numberOf('cacheMaxAge', raw.cacheMaxAge, 0) ?? 2
    this.cacheMaxAge = this.store?.shared === false ? 0 : cacheMaxAge
  }

  /** It hangs on what apps print now and then; keys and the client's secret are in here. */
  [inspect.custom](): string {
    return `Registration ${this.name}`
  }
}

const SEALED_TWICE =
  'is an encrypted() store, and what goes into it is sealed already. Pass the store inside of it, and its keys as "encryptionKeys".'

function resolveStore(storage: RegistrationOptions['storage']): CredentialStore | undefined {
  if (storage === undefined || storage === 'session') return undefined
  const store = storage as Partial<CredentialStore> | null
  if ((store as { encrypted?: unknown } | null)?.encrypted === true) throw new OptionError('storage', SEALED_TWICE)
  if (
    typeof store === 'object' &&
    store &&
    ['get', 'put', 'delete'].every((m) => typeof store[m as 'get'] === 'function')
  ) {
    return store as CredentialStore
  }
  throw new OptionError('storage', 'must be "session" or a credential store, such as memoryStore().')
}

function resolveTelemetry(telemetry: RegistrationOptions['telemetry']): Telemetry | undefined {
  if (telemetry === undefined || telemetry === false) return undefined
  if (typeof (telemetry as Partial<Telemetry> | null)?.watch === 'function') return telemetry
  throw new OptionError(
    'telemetry',
    'must be false, or what openTelemetry() of "fastify-oauth2client/opentelemetry" gives.',
  )
}
