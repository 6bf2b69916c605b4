import { OptionError } from './errors.js'
import { PROTECTED_PARAMS } from './flows/authorization-code.js'
import { type ClientSecrets, loadClientSecrets } from './flows/client-secrets.js'
import type { OAuth2ClientOptions, ResolvedOptions } from './options.js'
import { isSecureUrl } from './provider/http.js'
import type { ProviderOptions } from './provider/preset.js'
import { google, isGoogleEndpoint } from './provider/presets/google.js'
import { Provider } from './provider/provider.js'
import { parseScopes } from './provider/scopes.js'
import { resolveKeys } from './resolve-keys.js'
import { resolveRedirect } from './resolve-redirect.js'
import { parseReturnUrl } from './session/return-url.js'
import type { CredentialStore } from './storage/storage.js'

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
    timeout: raw.timeout === undefined ? undefined : milliseconds('timeout', raw.timeout),
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
  const store = resolveStore(raw.storage)
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
    store,
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
      const unknown = `is not known. Known are: ${Object.keys(KNOWN).join(', ')}.`
      throw new OptionError(option, (Object.hasOwn(ELSEWHERE, option) && ELSEWHERE[option]) || unknown)
    }
    if (value === null) throw new OptionError(option, 'is null. Leave it out for its default.')
    const kind = KNOWN[option as keyof OAuth2ClientOptions]
    const actual = Array.isArray(value) ? 'an array' : typeof value
    if (kind !== 'any' && actual !== kind) {
      throw new OptionError(option, `must be ${kind === 'object' ? 'an' : 'a'} ${kind}, and is ${actual}.`)
    }
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
    // Older files name it after their other endpoints.
    ...(typeof raw.revoke_uri === 'string' ? { revocation_endpoint: raw.revoke_uri } : {}),
    ...Object.fromEntries(optional.filter((name) => typeof raw[name] === 'string').map((name) => [name, raw[name]])),
  }
}

function usesOpenId(provider: ProviderOptions): boolean {
  return !provider.token_endpoint || provider.jwks_uri !== undefined
}

const SEALED_TWICE =
  'is an encrypted() store, and the plugin seals what it stores itself. Pass the store inside of it, and its keys as "encryptionKeys".'

function resolveStore(storage: OAuth2ClientOptions['storage']): CredentialStore | undefined {
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

function resolveOrigins(allowed: readonly string[] | undefined, provider: ProviderOptions): string[] {
  if (allowed !== undefined && !Array.isArray(allowed))
    throw new OptionError('allowedOrigins', 'must be an array of origins.')
  const list = [...(allowed ?? []), ...(provider.apiOrigins ?? []), new URL(provider.issuer).origin]
  return [...new Set(list.map(normalOrigin))]
}

/** The spelling that URLs are compared with: a capital letter or a default port would otherwise match nothing. */
function normalOrigin(origin: unknown): string {
  const text = String(origin)
  const wildcard = text.includes('//*.')
  const url = URL.canParse(text.replace('//*.', '//')) ? new URL(text.replace('//*.', '//')) : undefined
  const bare = url?.pathname === '/' && !url.search && !url.hash && !url.username && !url.hostname.includes('*')
  if (typeof origin !== 'string' || !url || !bare || !isSecureUrl(url)) {
    throw new OptionError('allowedOrigins', `holds something that is not an https origin: ${text.slice(0, 80)}`)
  }
  return wildcard ? url.origin.replace('//', '//*.') : url.origin
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

function positive(option: string, value: unknown, minimum: number): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value) || value < minimum) {
    throw new OptionError(option, `must be a number of at least ${minimum}.`)
  }
  return value
}

/** What a timer can wait: a larger or a fractional number would fail at the first request instead. */
function milliseconds(option: string, value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31) return value as number
  throw new OptionError(option, 'must be a whole number of milliseconds, such as 10000.')
}

/** The first one allowed is the default. */
function oneOf<const T extends readonly unknown[]>(option: string, value: unknown, allowed: T): T[number] {
  if (value === undefined) return allowed[0]
  if (allowed.includes(value)) return value
  throw new OptionError(option, `must be one of ${allowed.map((v) => JSON.stringify(v)).join(', ')}.`)
}
