/** Everything a user can set, and the only place that reads it as it was written. */
import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Credentials } from './credentials/credentials.js'
import type { CredentialsChange } from './credentials/manager.js'
import type { Claims } from './credentials/record.js'
import { type OAuth2ClientError, OptionError } from './errors.js'
import { PROTECTED_PARAMS } from './flows/authorization-code.js'
import { type ClientSecrets, loadClientSecrets } from './flows/client-secrets.js'
import { KeyRing } from './keys/key-ring.js'
import { type Fetch, isLoopback, isSecureUrl } from './provider/http.js'
import type { ProviderOptions } from './provider/preset.js'
import { google, isGoogleEndpoint } from './provider/presets/google.js'
import { type ClientAuthentication, Provider } from './provider/provider.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import { parseReturnUrl } from './session/return-url.js'
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
  /** `false`: no routes; mount `handleCallback` yourself at `callbackPath`. Default `true`. */
  readonly routes?: boolean
  /** Whether there is a logout route. Default: yes without `userKey`, no with it. */
  readonly logout?: boolean
  /** Further Fastify route options for our routes. */
  readonly routeOptions?: Omit<RouteShorthandOptions, 'handler' | 'exposeHeadRoute' | 'prefixTrailingSlash'>
  /** `'session'`, or a credential store. Default `'session'`. */
  readonly storage?: 'session' | CredentialStore
  /** The first key seals, all of them open. Required for shared stores. Default: derived from the client secret. */
  readonly encryptionKeys?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** The app's own user id. Empty means that nobody is signed in to the app. Default: the identity at the provider. */
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
  /** May answer (and return the reply), or throw to reach the app's error handler; otherwise we answer. */
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

type Kind = 'string' | 'boolean' | 'function' | 'object' | 'any'

// The list of known options doubles as the check of their types.
const KNOWN: Readonly<Record<keyof OAuth2ClientOptions, Kind>> = {
  name: 'string',
  provider: 'object',
  clientId: 'string',
  clientSecret: 'string',
  clientSecretsFile: 'string',
  clientAuthentication: 'any',
  baseUrl: 'string',
  redirectUri: 'string',
  scopes: 'any',
  optionalScopes: 'any',
  includeGrantedScopes: 'boolean',
  offline: 'any',
  authorizePath: 'string',
  callbackPath: 'string',
  logoutPath: 'string',
  routes: 'boolean',
  logout: 'boolean',
  routeOptions: 'object',
  storage: 'any',
  encryptionKeys: 'any',
  userKey: 'function',
  loginPath: 'string',
  resolveUser: 'function',
  accountSwitch: 'any',
  allowedOrigins: 'any',
  authorizationParams: 'object',
  onAuthorized: 'function',
  onError: 'function',
  onCredentialsChanged: 'function',
  refreshBeforeExpiry: 'any',
  backgroundRefresh: 'boolean',
  fetch: 'function',
  timeout: 'any',
  clock: 'function',
  hook: 'any',
}

const ELSEWHERE: Readonly<Record<string, string>> = {
  prefix:
    'is ignored by Fastify for plugins like this one. Register it inside a context that has the prefix, or set authorizePath and callbackPath.',
  logLevel: 'belongs into "routeOptions".',
  logSerializers: 'belongs into "routeOptions".',
  scope: 'is called "scopes".',
  issuer: 'belongs into "provider": { issuer: "https://..." }.',
  redirectURI: 'is called "redirectUri".',
  callbackUri: 'is called "redirectUri".',
  clientSecrets: 'is called "clientSecretsFile".',
  store: 'is called "storage".',
}

/**
 * Reads raw options once and decides everything that can be decided before the first request.
 *
 * @param prefix the prefix of the Fastify context that the routes will be in
 * @throws {OptionError} {@link ClientSecretsError}
 */
export function resolveOptions(raw: OAuth2ClientOptions, prefix = ''): ResolvedOptions {
  checkKnown(raw)
  const production = process.env.NODE_ENV === 'production'
  const name = raw.name ?? 'oauth2'
  if (!/^[A-Za-z_$][\w$]*$/.test(name))
    throw new OptionError('name', 'must be a JavaScript identifier, such as "github".')
  const secrets = raw.clientSecretsFile === undefined ? undefined : loadClientSecrets(raw.clientSecretsFile)
  const clientId = raw.clientId ?? secrets?.clientId
  if (!clientId) throw new OptionError('clientId', 'is required: set it, or set clientSecretsFile.')
  // A secret belongs to one id: that of the file is of no use with another id.
  const clientSecret =
    raw.clientSecret ??
    (raw.clientId === undefined || raw.clientId === secrets?.clientId ? secrets?.clientSecret : undefined)
  const providerOptions = raw.provider ?? (secrets && providerFrom(secrets))
  if (!providerOptions)
    throw new OptionError('provider', 'is required: a preset such as google(), or { issuer: "https://..." }.')
  const provider = new Provider({
    provider: providerOptions,
    clientId,
    clientSecret,
    clientAuthentication: raw.clientAuthentication,
    fetch: raw.fetch,
    timeout: positive('timeout', raw.timeout),
    clock: raw.clock,
  })
  const path = (option: 'authorizePath' | 'callbackPath' | 'logoutPath', fallback: string) => {
    const value = raw[option] ?? fallback
    if (!/^\/[\w\-./~]*$/.test(value))
      throw new OptionError(option, `must be a path without parameters, such as "${fallback}".`)
    return prefix + value
  }
  const suffix = name === 'oauth2' ? '' : `/${name}`
  const callbackPath = path('callbackPath', `/oauth2callback${suffix}`)
  const scopes =
    raw.scopes === undefined ? (usesOpenId(providerOptions) ? ['openid', 'email'] : []) : parseScopes(raw.scopes)
  if (scopes.includes('openid') && providerOptions.token_endpoint && !providerOptions.jwks_uri) {
    throw new OptionError('provider', 'needs jwks_uri to verify ID tokens, or take "openid" out of "scopes".')
  }
  const { keys, temporary } = resolveKeys(raw, clientSecret, production)
  const resolved: ResolvedOptions = {
    name,
    provider,
    clientSecrets: secrets,
    ...resolveRedirect(raw, callbackPath, secrets, production),
    scopes,
    optionalScopes: parseScopes(raw.optionalScopes, 'optionalScopes'),
    includeGrantedScopes: raw.includeGrantedScopes ?? true,
    offline: oneOf('offline', raw.offline, ['preferred', 'required', false]),
    authorizePath: path('authorizePath', `/oauth2authorize${suffix}`),
    callbackPath,
    logoutPath: path('logoutPath', `/oauth2logout${suffix}`),
    routes: raw.routes ?? true,
    logout: raw.logout ?? raw.userKey === undefined,
    routeOptions: raw.routeOptions ?? {},
    store: resolveStore(raw.storage),
    keys,
    temporaryKeys: temporary,
    userKey: raw.userKey,
    loginPath: raw.loginPath === undefined ? undefined : loginPath(raw.loginPath),
    resolveUser: raw.resolveUser,
    accountSwitch: oneOf('accountSwitch', raw.accountSwitch, ['replace', 'refuse']),
    allowedOrigins: resolveOrigins(raw.allowedOrigins, providerOptions),
    authorizationParams: checkParams(raw.authorizationParams ?? {}),
    onAuthorized: raw.onAuthorized,
    onError: raw.onError,
    onCredentialsChanged: raw.onCredentialsChanged,
    refreshBeforeExpiry: positive('refreshBeforeExpiry', raw.refreshBeforeExpiry, 0) ?? 60,
    backgroundRefresh: raw.backgroundRefresh ?? true,
    clock: provider.clock,
    hook: oneOf('hook', raw.hook, ['onRequest', 'preValidation', 'preHandler']),
  }
  return Object.freeze(resolved)
}

function checkKnown(raw: OAuth2ClientOptions): void {
  for (const [option, value] of Object.entries(raw)) {
    // Fastify adds an empty prefix of its own in some set-ups.
    if (value === undefined || (option === 'prefix' && value === '')) continue
    if (!Object.hasOwn(KNOWN, option)) {
      throw new OptionError(option, ELSEWHERE[option] ?? `is not known. Known are: ${Object.keys(KNOWN).join(', ')}.`)
    }
    const kind = KNOWN[option as keyof OAuth2ClientOptions]
    const actual = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
    if (kind !== 'any' && actual !== kind) throw new OptionError(option, `must be a ${kind}, and is ${actual}.`)
    if (kind === 'string' && value === '')
      throw new OptionError(option, 'is empty. Is an environment variable not set?')
  }
}

function providerFrom({ authUri, tokenUri, raw }: ClientSecrets): ProviderOptions {
  if (isGoogleEndpoint(authUri) && isGoogleEndpoint(tokenUri)) return google()
  const optional = ['jwks_uri', 'userinfo_endpoint', 'revocation_endpoint', 'end_session_endpoint'] as const
  return {
    // The file has no place for an issuer; without one, the origin has to do, and no ID token is asked for.
    issuer: typeof raw.issuer === 'string' ? raw.issuer : new URL(authUri).origin,
    authorization_endpoint: authUri,
    token_endpoint: tokenUri,
    ...Object.fromEntries(optional.filter((name) => typeof raw[name] === 'string').map((name) => [name, raw[name]])),
  }
}

function usesOpenId(provider: ProviderOptions): boolean {
  return !provider.token_endpoint || provider.jwks_uri !== undefined
}

function resolveRedirect(
  raw: OAuth2ClientOptions,
  callbackPath: string,
  secrets: ClientSecrets | undefined,
  production: boolean,
): { baseUrl: URL | undefined; redirectUri: string | undefined } {
  if (raw.baseUrl !== undefined && raw.redirectUri !== undefined) {
    throw new OptionError('redirectUri', 'and "baseUrl" exclude each other; set one of them.')
  }
  const option = raw.redirectUri === undefined ? 'baseUrl' : 'redirectUri'
  const value = raw[option]
  if (value === undefined) {
    if (production) {
      throw new OptionError(
        'baseUrl',
        'is required in production: the public origin of the app, such as "https://app.example.com".',
      )
    }
    return { baseUrl: undefined, redirectUri: undefined }
  }
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || !isSecureUrl(url)) {
    throw new OptionError(option, 'must be an https URL (http only on localhost), such as "https://app.example.com".')
  }
  if (url.search || url.hash || url.username)
    throw new OptionError(option, 'must have no query, fragment or user name.')
  let base = url
  let redirectUri = value
  if (option === 'redirectUri') {
    if (!url.pathname.endsWith(callbackPath)) {
      throw new OptionError(
        'redirectUri',
        `has the path ${url.pathname}, but the callback route is ${callbackPath}. Set callbackPath accordingly.`,
      )
    }
    base = new URL(url.pathname.slice(0, url.pathname.length - callbackPath.length) || '/', url)
  } else {
    redirectUri = url.origin + url.pathname.replace(/\/+$/, '') + callbackPath
  }
  checkRegistered(redirectUri, secrets)
  return { baseUrl: base, redirectUri }
}

/**
 * The provider would refuse a redirect URI that is not registered, on a page of its own that explains little.
 *
 * @throws {OptionError}
 */
export function checkRegistered(redirectUri: string, secrets: ClientSecrets | undefined): void {
  if (!secrets || secrets.redirectUris.length === 0 || secrets.redirectUris.includes(redirectUri)) return
  const url = new URL(redirectUri)
  // RFC 8252 section 7.3: programs on people's machines may use any port of the loopback interface.
  if (secrets.type === 'installed' && isLoopback(url.hostname)) return
  throw new OptionError(
    'baseUrl',
    `makes the callback ${redirectUri}, which is not among the redirect_uris of the client secrets file: ${secrets.redirectUris.join(', ')}`,
  )
}

function resolveStore(storage: OAuth2ClientOptions['storage']): CredentialStore | undefined {
  if (storage === undefined || storage === 'session') return undefined
  const store = storage as Partial<CredentialStore> | null
  if (
    typeof store === 'object' &&
    store &&
    ['get', 'put', 'delete'].every((m) => typeof store[m as 'get'] === 'function')
  ) {
    return store as CredentialStore
  }
  throw new OptionError('storage', 'must be "session" or a credential store, such as memoryStore().')
}

function resolveKeys(
  { encryptionKeys, storage }: OAuth2ClientOptions,
  clientSecret: string | undefined,
  production: boolean,
): { keys: KeyRing; temporary: boolean } {
  if (encryptionKeys !== undefined) {
    const list =
      typeof encryptionKeys === 'string' || encryptionKeys instanceof Uint8Array ? [encryptionKeys] : encryptionKeys
    if (!Array.isArray(list) || !list.every((key) => typeof key === 'string' || key instanceof Uint8Array)) {
      throw new OptionError('encryptionKeys', 'must be a key or an array of keys; a key is a string or bytes.')
    }
    return { keys: new KeyRing(list), temporary: false }
  }
  if (typeof storage === 'object' && storage?.shared !== false) {
    throw new OptionError(
      'encryptionKeys',
      'is required with a store that others can read. Make a key with: node -p "crypto.randomBytes(32).toString(\'base64url\')"',
    )
  }
  // Long enough for the key ring whatever its own length: what protects it is the secret's randomness, not this text.
  if (clientSecret) return { keys: new KeyRing([`derived from the client secret: ${clientSecret}`]), temporary: false }
  if (production) throw new OptionError('encryptionKeys', 'is required for a client without a secret.')
  return { keys: new KeyRing([randomBytes(32)]), temporary: true }
}

function resolveOrigins(allowed: readonly string[] | undefined, provider: ProviderOptions): string[] {
  if (allowed !== undefined && !Array.isArray(allowed))
    throw new OptionError('allowedOrigins', 'must be an array of origins.')
  for (const origin of allowed ?? []) {
    const url =
      typeof origin === 'string' && URL.canParse(origin.replace('//*.', '//'))
        ? new URL(origin.replace('//*.', '//'))
        : undefined
    if (url?.pathname !== '/' || url.search || !isSecureUrl(url)) {
      throw new OptionError(
        'allowedOrigins',
        `holds something that is not an https origin: ${String(origin).slice(0, 80)}`,
      )
    }
  }
  const list = [...(allowed ?? []), ...(provider.apiOrigins ?? []), new URL(provider.issuer).origin]
  return [...new Set(list.map((origin) => origin.replace(/\/$/, '')))]
}

function checkParams(params: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(params)) {
    if (PROTECTED_PARAMS.has(name)) throw new OptionError('authorizationParams', `may not set "${name}".`)
    if (typeof value !== 'string') throw new OptionError('authorizationParams', `"${name}" must be a string.`)
  }
  return { ...params }
}

function loginPath(value: string): string {
  const path = parseReturnUrl(value)
  if (path === undefined) throw new OptionError('loginPath', 'must be a path of this app, such as "/login".')
  return path
}

function positive(option: string, value: unknown, minimum = 1): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value) || value < minimum) {
    throw new OptionError(option, `must be a number of at least ${minimum}.`)
  }
  return value
}

/** The first one allowed is the default. */
function oneOf<const T extends readonly unknown[]>(option: string, value: unknown, allowed: T): T[number] {
  if (value === undefined) return allowed[0]
  if (allowed.includes(value)) return value
  throw new OptionError(option, `must be one of ${allowed.map((v) => JSON.stringify(v)).join(', ')}.`)
}
