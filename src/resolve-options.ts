import { OptionError } from './errors.js'
import { mayNotSet, PROTECTED_PARAMS } from './flows/protected-params.js'
import { wantedScopes } from './flows/wanted-scopes.js'
import type { OAuth2ClientOptions, ResolvedOptions } from './options.js'
import { isSecureUrl } from './provider/http.js'
import { parseScopes } from './provider/scopes.js'
import { checkKnown, type Kind, oneOf } from './registration/checks.js'
import { REGISTRATION_OPTIONS, Registration } from './registration/registration.js'
import { resolveRedirect } from './resolve-redirect.js'
import { parseReturnUrl } from './session/return-url.js'

/** The list of known options doubles as the check of their types. */
const KNOWN: Readonly<Record<keyof OAuth2ClientOptions, Kind>> = {
  ...REGISTRATION_OPTIONS,
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
  providerLogout: 'boolean',
  postLogoutRedirectUri: 'string',
  backchannelLogout: 'boolean',
  onLogout: 'function',
  routeOptions: 'object',
  userKey: 'function',
  loginPath: 'string',
  resolveUser: 'function',
  accountSwitch: 'any',
  authorizationParams: 'object',
  onAuthorized: 'function',
  onError: 'function',
  hook: 'any',
}

const ELSEWHERE: Readonly<Record<string, string>> = {
  prefix:
    'is ignored by Fastify for plugins like this one. Register it inside a context that has the prefix, or set authorizePath and callbackPath.',
  logLevel: 'belongs into "routeOptions".',
  logSerializers: 'belongs into "routeOptions".',
  scope: 'is called "scopes".',
  issuer: 'belongs into "provider": { issuer: "https://..." }.',
  callbackUri: 'is called "redirectUri".',
  callbackUrl: 'is called "redirectUri".',
  callbackURL: 'is called "redirectUri".',
  clientSecrets: 'is called "clientSecretsFile".',
  store: 'is called "storage".',
}

/**
 * Reads raw options once and decides everything that can be decided before the first request.
 *
 * @param prefix the prefix of the Fastify context that the routes will be in
 * @throws {OptionError} {@link ClientSecretsError}
 */
export function resolveOptions(
  raw: OAuth2ClientOptions,
  prefix = '',
  telemetry: OAuth2ClientOptions['telemetry'] = raw.telemetry,
): ResolvedOptions {
  checkKnown(raw, KNOWN, ELSEWHERE)
  const production = process.env.NODE_ENV === 'production'
  const registration = new Registration(raw, telemetry)
  const { name, provider, clientSecrets } = registration
  const path = (option: 'authorizePath' | 'callbackPath' | 'logoutPath', fallback: string) => {
    const value = raw[option] ?? fallback
    if (!/^\/[\w\-./~]*$/.test(value))
      throw new OptionError(option, `must be a path without parameters, such as "${fallback}".`)
    return prefix + value
  }
  const suffix = name === 'oauth2' ? '' : `/${name}`
  const callbackPath = path('callbackPath', `/oauth2callback${suffix}`)
  const scopes = wantedScopes(provider, raw.scopes)
  if (scopes.includes('openid') && provider.options.token_endpoint && !provider.options.jwks_uri) {
    throw new OptionError('provider', 'needs jwks_uri to verify ID tokens, or take "openid" out of "scopes".')
  }
  const resolved: ResolvedOptions = {
    ...registration,
    registration,
    ...resolveRedirect(raw, callbackPath, clientSecrets, production),
    scopes,
    optionalScopes: parseScopes(raw.optionalScopes, 'optionalScopes'),
    includeGrantedScopes: raw.includeGrantedScopes ?? true,
    offline: oneOf('offline', raw.offline, ['preferred', 'required', false]),
    authorizePath: path('authorizePath', `/oauth2authorize${suffix}`),
    callbackPath,
    logoutPath: path('logoutPath', `/oauth2logout${suffix}`),
    routes: raw.routes ?? true,
    logout: raw.logout ?? raw.userKey === undefined,
    ...logoutOptions(raw),
    routeOptions: raw.routeOptions ?? {},
    userKey: raw.userKey,
    loginPath: raw.loginPath === undefined ? undefined : loginPath(raw.loginPath),
    resolveUser: raw.resolveUser,
    accountSwitch: oneOf('accountSwitch', raw.accountSwitch, ['replace', 'refuse']),
    authorizationParams: checkParams(raw.authorizationParams ?? {}),
    onAuthorized: raw.onAuthorized,
    onError: raw.onError,
    hook: oneOf('hook', raw.hook, ['onRequest', 'preValidation', 'preHandler']),
  }
  return Object.freeze(resolved)
}

function checkParams(params: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(params)) {
    if (PROTECTED_PARAMS.has(name)) throw new OptionError('authorizationParams', mayNotSet(name))
    if (typeof value !== 'string') throw new OptionError('authorizationParams', `"${name}" must be a string.`)
  }
  return { ...params }
}

function logoutOptions(raw: OAuth2ClientOptions) {
  const { routes = true, providerLogout = false, backchannelLogout = false, postLogoutRedirectUri, onLogout } = raw
  const { logout = raw.userKey === undefined } = raw
  if (backchannelLogout && !routes) throw new OptionError('backchannelLogout', 'needs our routes: take out "routes".')
  if (providerLogout && !(routes && logout)) {
    throw new OptionError(
      'providerLogout',
      'needs our logout route, which "routes: false", "logout: false" and "userKey" take away: set "logout: true", or send people to request.oauth2.endSessionUrl() yourself.',
    )
  }
  if (onLogout && !backchannelLogout) {
    throw new OptionError('onLogout', 'is called for logouts of the provider: set "backchannelLogout: true" too.')
  }
  if (postLogoutRedirectUri !== undefined) {
    const url = URL.canParse(postLogoutRedirectUri) ? new URL(postLogoutRedirectUri) : undefined
    if (!url || !isSecureUrl(url) || url.hash || url.username) {
      throw new OptionError(
        'postLogoutRedirectUri',
        'must be an https URL (http only on localhost), such as "https://app.example.com/goodbye".',
      )
    }
  }
  return { providerLogout, backchannelLogout, postLogoutRedirectUri, onLogout }
}

function loginPath(value: string): string {
  const path = parseReturnUrl(value)
  if (path === undefined) throw new OptionError('loginPath', 'must be a path of this app, such as "/login".')
  return path
}
