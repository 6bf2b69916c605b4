/** Everything a user can set. Read by `resolve-options.ts` and nowhere else. */
import type { FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Credentials } from './credentials/credentials.js'
import type { Claims } from './credentials/record.js'
import type { OAuth2ClientError } from './errors.js'
import type { ClientName, ScopesOf } from './registered-clients.js'
import type { Registration, RegistrationOptions } from './registration/registration.js'

/**
 * What an authorization brought, for `onAuthorized`.
 *
 * @example
 * ```ts
 * import type { FastifyRequest } from 'fastify'
 * import type { Authorized } from 'fastify-oauth2client'
 *
 * function onAuthorized(request: FastifyRequest, { user, credentials, returnUrl }: Authorized): void {
 *   request.log.info({ user, scopes: credentials.scopes, returnUrl }, 'authorized')
 * }
 * ```
 */
export interface Authorized {
  /** What was granted, without the refresh token. */
  readonly credentials: Credentials
  /** Claims of the verified ID token, or what the provider said about the person. */
  readonly claims: Claims | undefined
  /** The key that the credentials are stored under. */
  readonly user: string
  /** Where the person is sent next. */
  readonly returnUrl: string
}

/**
 * What the provider ended, for `onLogout`.
 *
 * @example
 * ```ts
 * import type { ProviderLogout } from 'fastify-oauth2client'
 *
 * const carts = new Map<string, string[]>()
 *
 * function onLogout({ users }: ProviderLogout): void {
 *   for (const user of users) carts.delete(user)
 * }
 * ```
 */
export interface ProviderLogout {
  /** The keys of those who were signed in, as far as that is known: `userKey`'s, or the identities at the provider. */
  readonly users: readonly string[]
  /** The person at the provider: all of their sessions, without `sid`. */
  readonly sub: string | undefined
  /** The session, as `claims.sid` names it. */
  readonly sid: string | undefined
}

/**
 * Options of the plugin. `…Expiry` and `…Age` are seconds, `timeout` is milliseconds. What is registered with
 * {@link fastifyOAuth2Client}.
 */
export interface OAuth2ClientOptions<Name extends string = ClientName> extends RegistrationOptions {
  /** Decorator name: `request[name]`, `fastify[name]`. Register again under another name for another provider. Default `'oauth2'`. */
  readonly name?: Name
  /** The public origin of the app; a path in it is a prefix that a proxy strips. Required in production, or `redirectUri`. */
  readonly baseUrl?: string
  /** The whole callback URL, instead of `baseUrl`. */
  readonly redirectUri?: string
  /** Always asked for and required. Default `['openid', 'email']` with OpenID Connect, else none. */
  readonly scopes?: ScopesOf<Name>
  /** What a bare `?scope=` may ask for besides `scopes`. Default none. */
  readonly optionalScopes?: ScopesOf<Name>
  /** Incremental authorization: ask for what was granted before too. Default `true`. */
  readonly includeGrantedScopes?: boolean
  /** Lasting access through a refresh token. Default `'preferred'`. */
  readonly offline?: 'required' | 'preferred' | false
  /** Default `'/oauth2authorize'`; under another name `/oauth2authorize/<name>`. */
  readonly authorizePath?: string
  /** Default `'/oauth2callback'`; under another name `/oauth2callback/<name>`. */
  readonly callbackPath?: string
  /** Default `'/oauth2logout'`; under another name `/oauth2logout/<name>`. */
  readonly logoutPath?: string
  /**
   * `false`: no routes; mount `handleAuthorize` at `authorizePath` and `handleCallback` at `callbackPath` yourself, with
   * `userKey` also `handleConfirm` for `POST` below it, and `handleResume` where a guard has `resume`. Default `true`.
   */
  readonly routes?: boolean
  /** Whether there is a logout route. Default: yes without `userKey`, no with it. */
  readonly logout?: boolean
  /**
   * Whether signing out at our route leads on to the provider, to end the session there too. `id_token_hint` needs a store.
   * OpenID Connect RP-Initiated Logout 1.0. Default `false`.
   */
  readonly providerLogout?: boolean
  /** Where the provider sends people after that. Register it there. Default: our logout route, which leads back to `return_url`. */
  readonly postLogoutRedirectUri?: string
  /**
   * Whether the provider may end sessions, at `/backchannel` below `logoutPath`. With `storage: 'session'` only this process
   * learns of it. OpenID Connect Back-Channel Logout 1.0. Default `false`.
   */
  readonly backchannelLogout?: boolean
  /**
   * Called when the provider ended sessions, for what the app keeps of its own. What it throws makes the logout fail. After a
   * failure, of whatever, it is called again when the provider repeats itself.
   */
  readonly onLogout?: (logout: ProviderLogout) => void | Promise<void>
  /** Further Fastify route options for our routes. */
  readonly routeOptions?: Omit<RouteShorthandOptions, 'handler' | 'exposeHeadRoute' | 'prefixTrailingSlash'>
  /** `'session'`, or a credential store. Default `'session'`. */
  readonly storage?: NonNullable<RegistrationOptions['storage']>
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
  /** The hook in which guards declared in a route's `config` run. Default `'onRequest'`. */
  readonly hook?: 'onRequest' | 'preValidation' | 'preHandler'
}

type Fields<T> = { readonly [K in keyof T as K extends string ? K : never]: T[K] }

/** Options after every decision was made. */
export interface ResolvedOptions extends Fields<Registration> {
  /** The part that a `CredentialManager` needs. */
  readonly registration: Registration
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
  readonly providerLogout: boolean
  readonly postLogoutRedirectUri: string | undefined
  readonly backchannelLogout: boolean
  readonly onLogout: OAuth2ClientOptions['onLogout']
  readonly routeOptions: NonNullable<OAuth2ClientOptions['routeOptions']>
  readonly userKey: OAuth2ClientOptions['userKey']
  readonly loginPath: string | undefined
  readonly resolveUser: OAuth2ClientOptions['resolveUser']
  readonly accountSwitch: 'replace' | 'refuse'
  readonly authorizationParams: Readonly<Record<string, string>>
  readonly onAuthorized: OAuth2ClientOptions['onAuthorized']
  readonly onError: OAuth2ClientOptions['onError']
  readonly hook: 'onRequest' | 'preValidation' | 'preHandler'
}
