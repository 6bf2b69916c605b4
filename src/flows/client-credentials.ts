/** The client credentials grant. RFC 6749 section 4.4. */
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { dpopKeyFor } from './proven-exchange.js'
import { type TokenParams, tokenForm } from './token-params.js'
import { requestTokens, type TokenSet } from './token-set.js'

/**
 * Tokens for the application itself, with nobody behind them. Needs a client that authenticates.
 *
 * @throws {ProviderFailure} of kind `client` when the registration is refused
 * @example
 * ```ts
 * import { clientCredentialsGrant, Provider } from 'fastify-oauth2client/flows'
 *
 * const provider = new Provider({
 *   provider: { issuer: 'https://login.example.com' },
 *   clientId: 'a-service',
 *   clientSecret: 'its-secret',
 * })
 *
 * async function forReports() {
 *   return clientCredentialsGrant(provider, { scopes: ['reports.read'], resource: 'https://reports.example.com' })
 * }
 * ```
 */
export async function clientCredentialsGrant(provider: Provider, options: TokenParams = {}): Promise<TokenSet> {
  const form = tokenForm(options)
  const dpopKey = await dpopKeyFor(provider, options.dpopKey)
  const client = await openidClient()
  return requestTokens(provider, (configuration) => client.clientCredentialsGrant(configuration, form), { dpopKey })
}
