/** Everything a user can set. Read by `resolve-options.ts` and nowhere else. */
import type { FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Credentials } from './credentials/credentials.js'
import type { CredentialsChange } from './credentials/manager.js'
import type { Claims } from './credentials/record.js'
import type { OAuth2ClientError } from './errors.js'
import type { ClientSecrets } from './flows/client-secrets.js'
import type { KeyRing } from './keys/key-ring.js'
import type { Fetch } from './provider/http.js'
import type { ProviderOptions } from './provider/preset.js'
import type { ClientAuthentication, Provider } from './provider/provider.js'
import type { ScopeInput } from './provider/scopes.js'
import type { CredentialStore } from './storage/storage.js'

/** What an authorization brought, for `onAuthorized`. */
export interface Authorized {
  readonly credentials: Credentials
  /** Claims of the verified ID token, or what the provider said about the person. */
  readonly claims: Claims | undefined
  /** The key that the credentials are stored under. */
  readonly user: string
  /** Where the person is sent next. */
  readonly returnUrl: string
}

/** A change of stored credentials, for `onCredentialsChanged`. */
export interface CredentialsChanged {
  readonly client: string
  /** The key that they are stored under; with `storage: 'session'`, the opaque id in the session. */
  readonly user: string
  readonly change: CredentialsChange
  readonly scopes: readonly string[]
}

/** Options of the plugin. Times ending in `Expiry` are seconds, `timeout` is milliseconds. */
export interface OAuth2ClientOptions {
  /** Decorator name: `request[name]`, `fastify[name]`. Register again under another name for another provider. Default `'oauth2'`. */
  readonly name?: string
  /** A preset, `{ issuer }` for discovery, or endpoints. Default: from the client secrets file. */
  readonly provider?: ProviderOptions
  readonly clientId?: string
  readonly clientSecret?: string
  /** Path of a `client_secrets.json`. `clientId` and `clientSecret` win over what it says. */
  readonly clientSecretsFile?: string
  /** RFC 6749 section 2.3. Default `client_secret_post` with a secret, `none` without. */
  readonly clientAuthentication?: ClientAuthentication
  /** The public origin of the app; a path in it is a prefix that a proxy strips. Required in production, or `redirectUri`. */
  readonly baseUrl?: string
  /** The whole callback URL, instead of `baseUrl`. */
  readonly redirectUri?: string
  /** Always asked for and required. Default `['openid', 'email']` with OpenID Connect, else none. */
  readonly scopes?: ScopeInput
  /** What a bare `?scope=` may ask for besides `scopes`. Default none. */
  readonly optionalScopes?: ScopeInput
  /** Incremental authorization: ask for what was granted before too. Default `true`. */
  readonly includeGrantedScopes?: boolean
  /** Lasting access through a refresh token. Default `'preferred'`. */
  readonly offline?: 'required' | 'preferred' | false
  readonly authorizePath?: string
  readonly callbackPath?: string
  readonly logoutPath?: string
  /** `false`: no routes; mount `handleCallback` yourself at `callbackPath`, with `userKey` also `handleConfirm` for `POST` below it. Default `true`. */
  readonly routes?: boolean
  /** Whether there is a logout route. Default: yes without `userKey`, no with it. */
  readonly logout?: boolean
  /** Further Fastify route options for our routes. */
  readonly routeOptions?: Omit<RouteShorthandOptions, 'handler' | 'exposeHeadRoute' | 'prefixTrailingSlash'>
  /** `'session'`, or a credential store. Default `'session'`. */
  readonly storage?: 'session' | CredentialStore
  /** The first key seals, all of them open. Required for shared stores. Default: derived from the client secret. */
  readonly encryptionKeys?: string | Uint8Array | readonly (string | Uint8Array)[]
  /**
   * The app's own user id. Empty means that nobody is signed in to the app. An account that is new to the user, from a flow that
   * another site may have begun, is connected once the person confirms it. Default: the identity at the provider.
   */
  readonly userKey?: (request: FastifyRequest) => string | null | undefined | Promise<string | null | undefined>
  /** Where people without `userKey` are sent. Default: they get a 401. */
  readonly loginPath?: string
  /** Creates or finds the app's user at a sign-in: returns the key, or throws to refuse. */
  readonly resolveUser?: (
    request: FastifyRequest,
    context: { readonly claims: Claims | undefined; readonly credentials: Credentials },
  ) => string | Promise<string>
  /** Another identity on a sign-in without `userKey`: a new sign-in, or refused. Default `'replace'`. */
  readonly accountSwitch?: 'replace' | 'refuse'
  /** Where the access token may be sent, besides the preset's origins and the issuer's. `https://*.example.com` is any subdomain. */
  readonly allowedOrigins?: readonly string[]
  /** Fixed extra parameters of every authorization request. */
  readonly authorizationParams?: Readonly<Record<string, string>>
  /** Runs after the credentials were stored and before the person is sent back. */
  readonly onAuthorized?: (request: FastifyRequest, authorized: Authorized) => void | Promise<void>
  /**
   * May answer (and return the reply), or throw to reach the app's error handler; otherwise we answer. Where a person can go
   * on, `error.details.authorizeUrl` says where. For `FST_OAUTH2_CONFIRMATION_REQUIRED`, `error.details` has `account` (`id`,
   * `email`), `provider`, `application`, and `confirmUrl` and `_csrf` for a form that posts `_csrf` there, with `refuse` for a no.
   */
  readonly onError?: (error: OAuth2ClientError, request: FastifyRequest, reply: FastifyReply) => unknown
  readonly onCredentialsChanged?: (event: CredentialsChanged) => void | Promise<void>
  /** Seconds before expiry at which a new access token is fetched, jittered. Default 60. */
  readonly refreshBeforeExpiry?: number
  /**
   * Whether a request stops waiting for an early refresh that takes long, which then goes on after the response. Set it to
   * `false` on hosts that freeze the process between requests. Default `true`.
   */
  readonly backgroundRefresh?: boolean
  /** Outbound HTTP. Default: the global `fetch`. */
  readonly fetch?: Fetch
  /** Milliseconds for each call to the provider. Default 10,000. */
  readonly timeout?: number
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: () => number
  /** The hook in which guards declared in a route's `config` run. Default `'onRequest'`. */
  readonly hook?: 'onRequest' | 'preValidation' | 'preHandler'
}

/** Options after every decision was made. */
export interface ResolvedOptions {
  readonly name: string
  readonly provider: Provider
  readonly clientSecrets: ClientSecrets | undefined
  readonly baseUrl: URL | undefined
  readonly redirectUri: string | undefined
  readonly scopes: readonly string[]
  readonly optionalScopes: readonly string[]
  readonly includeGrantedScopes: boolean
  readonly offline: 'required' | 'preferred' | false
  readonly authorizePath: string
  readonly callbackPath: string
  readonly logoutPath: string
  readonly routes: boolean
  readonly logout: boolean
  readonly routeOptions: NonNullable<OAuth2ClientOptions['routeOptions']>
  readonly store: CredentialStore | undefined
  readonly keys: KeyRing
  /** Whether the keys end with the process. */
  readonly temporaryKeys: boolean
  readonly userKey: OAuth2ClientOptions['userKey']
  readonly loginPath: string | undefined
  readonly resolveUser: OAuth2ClientOptions['resolveUser']
  readonly accountSwitch: 'replace' | 'refuse'
  readonly allowedOrigins: readonly string[]
  readonly authorizationParams: Readonly<Record<string, string>>
  readonly onAuthorized: OAuth2ClientOptions['onAuthorized']
  readonly onError: OAuth2ClientOptions['onError']
  readonly onCredentialsChanged: OAuth2ClientOptions['onCredentialsChanged']
  readonly refreshBeforeExpiry: number
  readonly backgroundRefresh: boolean
  readonly clock: () => number
  readonly hook: 'onRequest' | 'preValidation' | 'preHandler'
}
