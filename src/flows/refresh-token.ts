/** The refresh token grant. RFC 6749 section 6, OpenID Connect Core section 12. */
import * as client from 'openid-client'
import type { Exchange } from '../provider/http.js'
import type { Provider } from '../provider/provider.js'
import { required } from './token-params.js'
import { requestTokens, type TokenSet } from './token-set.js'

/**
 * Uses a refresh token once. Most callers want `CredentialManager`, which sees to it that nobody else uses it too.
 *
 * @param options.exchange filled with what was answered, also when the answer is refused
 * @throws {OptionError} for no refresh token
 * @throws {ProviderFailure} of kind `invalid_grant` when the refresh token is of no more use
 */
export async function refreshTokenGrant(
  provider: Provider,
  refreshToken: string,
  { acceptIdToken = true, exchange = {} }: { acceptIdToken?: boolean; exchange?: Exchange } = {},
): Promise<TokenSet> {
  const token = required('refreshToken', refreshToken)
  const configuration = await provider.configuration()
  return requestTokens(provider, () => client.refreshTokenGrant(configuration, token), {
    acceptIdToken,
    exchange,
  })
}
