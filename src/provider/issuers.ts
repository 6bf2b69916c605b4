/** One provider under several issuers: tenants, of which each signs as its own. Used by `provider.ts` and `flows/`. */
import type { JWK } from 'jose'
import type { ClientAuth, ClientMetadata, Configuration } from 'openid-client'
import type { Claims } from '../credentials/record.js'
import { toText } from './json.js'
import { openidClient } from './libraries.js'
import type { ProviderMetadata } from './preset.js'
import type { Provider } from './provider.js'

/** Stands in a metadata's issuer for the tenant, which an ID token names as `tid`. */
export const TENANT = '{tenantid}'

// The library knows the template by the authority that invented it, and takes it from nowhere else.
const AUTHORITY = new URL('https://login.microsoftonline.com/common/v2.0')

/**
 * A configuration whose ID tokens come from the issuer that the template makes with their own `tid`. Nothing is fetched:
 * the library is handed the metadata that was found.
 */
export async function forTenants(
  metadata: ProviderMetadata,
  clientId: string,
  registration: Partial<ClientMetadata>,
  authentication: ClientAuth,
): Promise<Configuration> {
  const client = await openidClient()
  return client.discovery(AUTHORITY, clientId, registration, authentication, {
    [client.customFetch]: async () => Response.json(metadata),
  })
}

/**
 * Whether an ID token that was verified comes from a tenant that is welcome, and was signed with a key of that tenant: a key
 * set for all tenants says which key is whose, and a signature by any other proves nothing.
 *
 * @param keys those that the signature was checked with
 * @param idToken as it was received
 */
export function isFromTenant(
  provider: Provider,
  keys: readonly (JWK & { readonly issuer?: unknown })[],
  { iss, tid }: Claims,
  idToken: string,
): boolean {
  // The template is the name of no tenant.
  if (typeof iss !== 'string' || iss.includes(TENANT) || !provider.isIssuer(iss)) return false
  const { kid } = JSON.parse(Buffer.from(idToken.split('.', 1)[0] as string, 'base64url').toString()) as {
    kid?: string
  }
  const owners = keys
    .filter((key) => (kid === undefined || key.kid === kid) && typeof key.issuer === 'string')
    .map(({ issuer }) => toText(issuer).replace(TENANT, toText(tid)))
  if (owners.length === 0) return true
  // One key may be listed for several; of a token that names none, any could be the one that signed.
  return kid === undefined ? owners.every((owner) => owner === iss) : owners.includes(iss)
}
