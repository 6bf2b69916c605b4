/** Token revocation. RFC 7009. */
import { ProviderFailure } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { refreshTokenGrant } from './refresh-token.js'

/**
 * What became of a token at the provider, as {@link revokeToken} resolves to it: it knows the token no more; that could
 * not be learned; or it has no way of ending one.
 */
export type RevocationOutcome = 'revoked' | 'failed' | 'unsupported'

/**
 * Asks the provider to forget a token. A token that the provider no longer knows counts as revoked. Never rejects.
 *
 * @example
 * ```ts
 * import { type Provider, revokeToken } from 'fastify-oauth2client/flows'
 *
 * async function forget(provider: Provider, token: string) {
 *   return (await revokeToken(provider, token)) === 'revoked'
 * }
 * ```
 */
export async function revokeToken(
  provider: Provider,
  token: string,
  hint: 'refresh_token' | 'access_token' = 'refresh_token',
): Promise<RevocationOutcome> {
  return (await endGrant(provider, token, hint)).outcome
}

/** What became of a grant, and the token that stands for it now: using a refresh token may replace it. */
export interface EndedGrant {
  readonly outcome: RevocationOutcome
  readonly token: string
  readonly hint: 'refresh_token' | 'access_token'
}

/** The same for whoever tries again later. */
export async function endGrant(
  provider: Provider,
  token: string,
  hint: 'refresh_token' | 'access_token',
): Promise<EndedGrant> {
  if (provider.options.revoke) return revokeInItsOwnWay(provider, token, hint)
  return { outcome: await revokeByTheBook(provider, token, hint), token, hint }
}

async function revokeByTheBook(
  provider: Provider,
  token: string,
  hint: 'refresh_token' | 'access_token',
): Promise<RevocationOutcome> {
  const exchange: Exchange = {}
  try {
    if (!(await provider.metadata()).revocation_endpoint) return 'unsupported'
    const client = await openidClient()
    await provider.exchange(exchange, (configuration) =>
      client.tokenRevocation(configuration, token, { token_type_hint: hint }),
    )
    return 'revoked'
  } catch {
    const known = exchange.body?.error
    // RFC 7009 wants 200 for a token that is already gone; several providers say what they mean instead.
    if (exchange.status === 204 || known === 'invalid_token' || known === 'token_not_found') return 'revoked'
    return 'failed'
  }
}

/** Where an access token stands for the grant, one that still works is fetched for the purpose. */
async function revokeInItsOwnWay(
  provider: Provider,
  token: string,
  hint: 'refresh_token' | 'access_token',
): Promise<EndedGrant> {
  const { clientId, clientSecret, issuer, options } = provider
  let left = { token, hint }
  try {
    let accessToken = token
    if (hint === 'refresh_token') {
      const fresh = await refreshTokenGrant(provider, token)
      accessToken = fresh.accessToken
      left = { token: fresh.refreshToken ?? token, hint }
    }
    const context = { accessToken, clientId, clientSecret, issuer, fetch: provider.boundedFetch }
    return { outcome: (await options.revoke?.(context)) ? 'revoked' : 'failed', ...left }
  } catch (error) {
    // A refresh token that is of no more use has no grant left that could end.
    const over = error instanceof ProviderFailure && error.kind === 'invalid_grant'
    return { outcome: over ? 'revoked' : 'failed', ...left }
  }
}
