import type { ClientMetadata, Provider } from 'oidc-provider'
import type { TestClient } from './options.js'

/** Clients, and which redirect URIs they may use. */

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** `oidc-provider` insists on a registered redirect URI; this one stands for "any on this machine". */
const ANY_LOCAL = 'http://localhost/'

export function clientMetadata({
  clientId,
  clientSecret,
  redirectUris,
  postLogoutRedirectUris,
  backchannelLogoutUri,
}: TestClient): ClientMetadata {
  return {
    client_id: clientId,
    ...(clientSecret === undefined ? { token_endpoint_auth_method: 'none' } : { client_secret: clientSecret }),
    grant_types: [
      'authorization_code',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
      ...(clientSecret === undefined ? [] : ['client_credentials']),
    ],
    response_types: ['code'],
    redirect_uris: [...(redirectUris ?? [ANY_LOCAL])],
    post_logout_redirect_uris: [...(postLogoutRedirectUris ?? [])],
    ...(backchannelLogoutUri === undefined
      ? {}
      : { backchannel_logout_uri: backchannelLogoutUri, backchannel_logout_session_required: true }),
  }
}

/** Lets clients without registered URIs return to any port and path of this machine. */
export function allowLocalRedirects(provider: Provider, clients: readonly TestClient[]): void {
  const free = (pick: (client: TestClient) => unknown) =>
    new Set(clients.filter((client) => pick(client) === undefined).map((client) => client.clientId))
  const freeRedirects = free((client) => client.redirectUris)
  const freeLogouts = free((client) => client.postLogoutRedirectUris)

  // The class belongs to this provider alone.
  const { prototype } = provider.Client
  const { redirectUriAllowed, postLogoutRedirectUriAllowed } = prototype
  prototype.redirectUriAllowed = function (uri) {
    return freeRedirects.has(this.clientId) ? isLocal(uri) : redirectUriAllowed.call(this, uri)
  }
  prototype.postLogoutRedirectUriAllowed = function (uri) {
    return freeLogouts.has(this.clientId) ? isLocal(uri) : postLogoutRedirectUriAllowed.call(this, uri)
  }
}

function isLocal(uri: unknown): boolean {
  if (typeof uri !== 'string' || !URL.canParse(uri)) return false
  const { protocol, hostname, hash, username, password } = new URL(uri)
  return protocol === 'http:' && LOOPBACK.has(hostname) && hash === '' && username === '' && password === ''
}
