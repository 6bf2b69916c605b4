/** Tells of requests to a provider. Those to anybody else (the APIs behind it) are the app's own. */
import type { Fetch } from '../provider/http.js'
import type { ProviderMetadata } from '../provider/preset.js'
import type { ProviderEndpoint, ProviderRequest, Watch } from './watch.js'

/** @param metadata as far as it is known by now */
export function watchedFetch(fetch: Fetch, watch: Watch, metadata: () => ProviderMetadata): Fetch {
  return (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const endpoint = endpointOf(url, metadata())
    if (!endpoint) return fetch(input, init)
    const request: ProviderRequest = {
      endpoint,
      grantType: endpoint === 'token' ? grantTypeOf(init?.body) : undefined,
      method: init?.method ?? 'GET',
      server: url,
    }
    return watch.request(request, () => fetch(input, init))
  }
}

const NAMES: readonly (readonly [keyof ProviderMetadata, ProviderEndpoint])[] = [
  ['token_endpoint', 'token'],
  ['jwks_uri', 'jwks'],
  ['userinfo_endpoint', 'userinfo'],
  ['revocation_endpoint', 'revocation'],
  ['introspection_endpoint', 'introspection'],
  ['device_authorization_endpoint', 'device_authorization'],
  ['pushed_authorization_request_endpoint', 'pushed_authorization_request'],
]

function endpointOf(url: URL, metadata: ProviderMetadata): ProviderEndpoint | undefined {
  const aliases = (metadata.mtls_endpoint_aliases ?? {}) as Partial<ProviderMetadata>
  for (const [member, name] of NAMES) {
    for (const value of [metadata[member], aliases[member]]) {
      if (typeof value === 'string' && URL.canParse(value) && new URL(value).href === url.href) return name
    }
  }
  // Where the metadata is: all places of an issuer's have that in common.
  return url.pathname.includes('/.well-known/') ? 'discovery' : undefined
}

/** Some servers read JSON where others have a form. What else may be in there is none of our business. */
function grantTypeOf(body: unknown): string | undefined {
  if (body instanceof URLSearchParams) return body.get('grant_type') ?? undefined
  return typeof body === 'string' ? /"grant_type":"([\w:.-]+)"/.exec(body)?.[1] : undefined
}
