/** What is asked for where nothing in particular needs more. */
import type { Provider } from '../provider/provider.js'
import { parseScopes, type ScopeInput } from '../provider/scopes.js'

/**
 * What was chosen, or what the provider's preset says, or `openid email` with OpenID Connect; and what it takes to know who
 * somebody is.
 *
 * @throws {OptionError} for something that is no scope
 */
export function wantedScopes({ options, scopes }: Provider, input: ScopeInput | undefined): string[] {
  const openId = !options.token_endpoint || options.jwks_uri !== undefined
  const { defaultScopes = openId ? ['openid', 'email'] : [], identityScopes = [] } = options
  const chosen = input === undefined ? defaultScopes : parseScopes(input)
  // Whoever signs in with OpenID Connect is known without them.
  return chosen.includes('openid') ? [...chosen] : scopes.union(chosen, identityScopes)
}
