/** The refresh token grant. RFC 6749 section 6, OpenID Connect Core section 12. */
import type { DPoPKey } from '../provider/dpop.js'
import type { Exchange } from '../provider/http.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { required } from './token-params.js'
import { requestTokens, type TokenSet } from './token-set.js'

/**
 * Uses a refresh token once. Most callers want `CredentialManager`, which sees to it that nobody else uses it too.
 *
 * @param options.acceptIdToken whether an ID token is read; default `true`
 * @param options.exchange filled with what was answered, also when the answer is refused: internal
 * @param options.dpopKey what the refresh token came with, if it is bound to a key: then the new tokens are bound to it too
 * @throws {OptionError} for no refresh token
 * @throws {ProviderFailure} of kind `invalid_grant` when the refresh token is of no more use
 * @example
 * ```ts
 * import { type Provider, refreshTokenGrant } from 'fastify-oauth2client/flows'
 *
 * async function renew(provider: Provider, refreshToken: string) {
 *   const tokens = await refreshTokenGrant(provider, refreshToken)
 *   // A provider that rotates them gave a new one, and this one is spent.
 *   return { accessToken: tokens.accessToken, refreshToken: tokens.refreshToken ?? refreshToken }
 * }
 * ```
 */
export async function refreshTokenGrant(
  provider: Provider,
  refreshToken: string,
  {
    acceptIdToken = true,
    exchange = {},
    dpopKey,
  }: { acceptIdToken?: boolean; exchange?: Exchange; dpopKey?: DPoPKey | undefined } = {},
): Promise<TokenSet> {
  const token = required('refreshToken', refreshToken)
  const client = await openidClient()
  return requestTokens(provider, (configuration) => client.refreshTokenGrant(configuration, token), {
    acceptIdToken,
    exchange,
    dpopKey,
  })
}
