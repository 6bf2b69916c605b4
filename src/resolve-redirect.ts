import { OptionError } from './errors.js'
import type { ClientSecrets } from './flows/client-secrets.js'
import type { OAuth2ClientOptions } from './options.js'
import { isLoopback, isSecureUrl } from './provider/http.js'

/** @throws {OptionError} */
export function resolveRedirect(
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
