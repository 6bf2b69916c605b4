/** Everything a user can set. Read by `resolve-options.ts` and nowhere else. */
import type { FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Credentials } from './credentials/credentials.js'
import type { Claims } from './credentials/record.js'
import type { OAuth2ClientError } from './errors.js'
import type { ScopeInput } from './provider/scopes.js'
import type { Registration, RegistrationOptions } from './registration/registration.js'

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

/** Options of the plugin. `…Expiry` and `…Age` are seconds, `timeout` is milliseconds. */
export interface OAuth2ClientOptions extends RegistrationOptions {
  /** Decorator name: `request[name]`, `fastify[name]`. Register again under another name for another provider. Default `'oauth2'`. */
  readonly name?: string
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
