/** What the provider knows about a token. RFC 7662. */
import type { Configuration } from 'openid-client'
import { ProviderMetadataError } from '../errors.js'
import { classify, ProviderFailure } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import { toNumber } from '../provider/json.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { readScopes } from '../provider/scopes.js'
import { required } from './token-params.js'

/** What a provider says about a token. {@link introspectToken} resolves to it. */
export interface TokenIntrospection {
  /** Whether it can be used at the moment. Where it cannot, nothing else is said. */
  readonly active: boolean
  /** `undefined` when the answer says nothing about scopes. */
  readonly scopes?: readonly string[]
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number
  /** The client that it was issued to. */
  readonly clientId?: string
  /** Whose token it is: `sub`. `undefined` when the answer does not say. */
  readonly subject?: string
  /** Every member of the answer as it was sent. */
  readonly raw: Readonly<Record<string, unknown>>
}

/**
 * Asks the provider about a token: whether it still works, and which scopes it has. Providers without an introspection endpoint
 * may have a way of their own for access tokens, which their preset knows.
 *
 * A token that somebody sent may have been issued to another client: compare `clientId` before `active` and `scopes` are trusted.
 *
 * @throws {ProviderMetadataError} when the provider offers neither
 * @throws {ProviderFailure} when it refuses, cannot be reached, or its answer cannot be used
 * @example
 * ```ts
 * import { introspectToken, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function grantedScopes(provider: Provider, accessToken: string) {
 *   const { active, scopes, clientId } = await introspectToken(provider, accessToken)
 *   return active && clientId === provider.clientId ? scopes : []
 * }
 * ```
 */
export async function introspectToken(
  provider: Provider,
  token: string,
  hint: 'refresh_token' | 'access_token' = 'access_token',
): Promise<TokenIntrospection> {
  required('token', token)
  const { introspection_endpoint: endpoint, issuer } = await provider.metadata()
  const { introspect } = provider.options
  const exchange: Exchange = { what: 'token introspection' }
  const client = await openidClient()
  const ask = endpoint
    ? (configuration: Configuration) => client.tokenIntrospection(configuration, token, { token_type_hint: hint })
    : hint === 'access_token' && introspect
      ? () => introspect({ accessToken: token, fetch: provider.observedFetch(exchange), issuer })
      : undefined
  if (!ask) throw new ProviderMetadataError(`${issuer} names no introspection_endpoint.`)
  let raw: Readonly<Record<string, unknown>>
  try {
    raw = await provider.exchange(exchange, ask, { verifying: true })
  } catch (error) {
    throw classify(exchange, error)
  }
  if (typeof raw?.active !== 'boolean') throw new ProviderFailure('unusable', exchange, undefined)
  if (!raw.active) return { active: false, raw }
  const { scope, exp, client_id: clientId, sub: subject } = raw
  const expiresAt = toNumber(exp) * 1000
  return {
    active: true,
    ...(typeof scope === 'string' ? { scopes: readScopes(scope) } : {}),
    ...(Number.isFinite(expiresAt) ? { expiresAt } : {}),
    ...(typeof clientId === 'string' ? { clientId } : {}),
    ...(typeof subject === 'string' ? { subject } : {}),
    raw,
  }
}
