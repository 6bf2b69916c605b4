import type { Provider } from 'oidc-provider'
import { parseScopes, type ScopeInput } from '../../provider/scopes.js'
import type { IssuedTokens } from './options.js'

/** Makes a grant and its tokens as an authorization would, past all pages and endpoints. */
export async function issueTokens(
  provider: Provider,
  grant: { readonly sub: string; readonly scopes: ScopeInput; readonly clientId: string },
): Promise<IssuedTokens> {
  const client = await provider.Client.find(grant.clientId)
  if (!client) throw new TypeError(`issueTokens({ clientId }): the server knows no client ${grant.clientId}`)
  const scope = parseScopes(grant.scopes, 'issueTokens({ scopes })').join(' ')
  const given = new provider.Grant({ accountId: grant.sub, clientId: client.clientId })
  given.addOIDCScope(scope)
  const common = {
    accountId: grant.sub,
    client,
    grantId: await given.save(),
    gty: 'authorization_code',
    scope,
    expiresWithSession: false,
  }
  const accessToken = new provider.AccessToken({ ...common, claims: {}, extra: {} } as never)
  const refreshToken = new provider.RefreshToken({
    ...common,
    rotations: 0,
    iiat: Math.floor(Date.now() / 1000),
  } as never)
  return {
    accessToken: await accessToken.save(),
    refreshToken: await refreshToken.save(),
    expiresIn: accessToken.expiration,
  }
}
