/** Whose tokens these are, and what was granted with them: what an authorization comes down to, wherever it was made. */
import type { Claims } from '../credentials/record.js'
import { ExchangeFailedError } from '../errors.js'
import { sanitizedCause } from '../provider/failure.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { dpopHandle } from './proven-exchange.js'
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
  const { dpopKey } = tokens
  let found: Identity | null | undefined
  try {
    found = await identity({
      accessToken: tokens.accessToken,
      ...(dpopKey ? { dpopProof: (request) => provider.dpop.proof(dpopKey, request, tokens.accessToken) } : {}),
      fetch: provider.boundedFetch,
      issuer: provider.issuer,
    })
  } catch (cause) {
    throw new ExchangeFailedError({ cause: sanitizedCause(cause) })
  }
  if (typeof found?.id === 'string' && found.id !== '') return found
  throw new ExchangeFailedError({ cause: new TypeError('identity() gave no id') })
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
  if (claims.email !== undefined || !scopes.includes('email')) return {}
  if (!(await provider.metadata()).userinfo_endpoint) return {}
  const configuration = await provider.verifyingConfiguration()
  const client = await openidClient()
  let info: Claims
  try {
    info = await client.fetchUserInfo(configuration, tokens.accessToken, client.skipSubjectCheck, {
      ...(tokens.dpopKey ? { DPoP: await dpopHandle(provider, configuration, tokens.dpopKey) } : {}),
    })
  } catch {
    // Who it is, is known; an address for display is not worth a failed sign-in.
    return {}
  }
  if (info.sub !== claims.sub) throw new ExchangeFailedError()
  // Only an ID token is about a sign-in, and guards go by it; this answer is about the person.
  const { acr: _, amr: __, auth_time: ___, nonce: ____, sid: _____, ...person } = info
  return person
}
