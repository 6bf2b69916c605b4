/** Whose tokens these are, and what was granted with them: what an authorization comes down to, wherever it was made. */
import * as oidc from 'openid-client'
import type { Claims } from '../credentials/record.js'
import { ExchangeFailedError } from '../errors.js'
import { sanitizedCause } from '../provider/failure.js'
import type { Provider } from '../provider/provider.js'
import type { TokenSet } from './token-set.js'

export interface Identity {
  readonly id?: string
  readonly email?: string
  readonly claims?: Claims
}

/**
 * Who granted it: the subject of the ID token, or what the preset finds out. Empty where the provider tells nobody.
 *
 * @param scopes what was asked for
 * @throws {ExchangeFailedError} when there should be an identity and it cannot be had
 */
export async function identify(provider: Provider, scopes: readonly string[], tokens: TokenSet): Promise<Identity> {
  if (tokens.claims) {
    const claims = { ...(await userInfo(provider, scopes, tokens, tokens.claims)), ...tokens.claims }
    const { email } = claims as { email?: unknown }
    return { id: String(claims.sub), claims, ...(typeof email === 'string' ? { email } : {}) }
  }
  const { identity } = provider.options
  if (!identity) return {}
  try {
    const found = await identity({
      accessToken: tokens.accessToken,
      fetch: provider.boundedFetch,
      issuer: provider.issuer,
    })
    if (typeof found?.id !== 'string' || found.id === '') throw new TypeError('identity() gave no id')
    return found
  } catch (cause) {
    throw new ExchangeFailedError({ cause: sanitizedCause(cause) })
  }
}

/** What was granted. A valid ID token is what `openid` is about, whether or not the answer lists it. */
export function grantedScopes({ scopes }: Provider, requested: readonly string[], tokens: TokenSet): string[] {
  const granted = scopes.granted(requested, tokens.scopes)
  return tokens.claims ? scopes.union(granted, ['openid']) : granted
}

/** Many providers put the e-mail address only here. OpenID Connect Core section 5.3. */
async function userInfo(
  provider: Provider,
  scopes: readonly string[],
  tokens: TokenSet,
  claims: Claims,
): Promise<Claims> {
  const configuration = await provider.configuration()
  if (claims.email !== undefined || !scopes.includes('email') || !configuration.serverMetadata().userinfo_endpoint)
    return {}
  let info: Claims
  try {
    info = await oidc.fetchUserInfo(configuration, tokens.accessToken, oidc.skipSubjectCheck)
  } catch {
    // Who it is, is known; an address for display is not worth a failed sign-in.
    return {}
  }
  if (info.sub !== claims.sub) throw new ExchangeFailedError()
  return info
}
