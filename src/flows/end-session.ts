/** Where a person ends their session at the provider. OpenID Connect RP-Initiated Logout 1.0 section 2. */
import type { Provider } from '../provider/provider.js'

/** What the provider is told. For {@link endSessionUrl}. */
export interface EndSessionOptions {
  /** An ID token that the person got, expired or not: with it most providers do not ask whether the person means it. */
  readonly idTokenHint?: string | undefined
  /** Where the person goes afterwards; it has to be registered at the provider. */
  readonly postLogoutRedirectUri?: string | undefined
  /** Comes back with the person. */
  readonly state?: string | undefined
}

/** Characters. Servers cut off, or refuse, request lines that are longer than 8,000. */
const MAXIMUM_HINT = 6_000

/**
 * The URL that ends a person's session at the provider when they open it.
 *
 * An ID token that is too long for a URL is left out: the provider knows the client all the same, and asks the person.
 *
 * @returns `undefined` where the provider has no `end_session_endpoint`
 * @throws {ProviderUnavailableError} when its metadata cannot be fetched
 * @example
 * ```ts
 * import { endSessionUrl, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function goodbye(provider: Provider, idToken: string) {
 *   return endSessionUrl(provider, { idTokenHint: idToken, postLogoutRedirectUri: 'https://app.example.com/bye' })
 * }
 * ```
 */
export async function endSessionUrl(
  provider: Provider,
  { idTokenHint, postLogoutRedirectUri, state }: EndSessionOptions = {},
): Promise<string | undefined> {
  const { end_session_endpoint: endpoint } = await provider.metadata()
  if (typeof endpoint !== 'string') return undefined
  const url = new URL(endpoint)
  url.searchParams.set('client_id', provider.clientId)
  if (idTokenHint && idTokenHint.length <= MAXIMUM_HINT) url.searchParams.set('id_token_hint', idTokenHint)
  if (postLogoutRedirectUri) url.searchParams.set('post_logout_redirect_uri', postLogoutRedirectUri)
  if (state) url.searchParams.set('state', state)
  return url.href
}
