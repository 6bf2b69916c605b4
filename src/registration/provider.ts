/** Who we are at which provider: the part of a registration that programs without stored credentials need too. */
import { OptionError } from '../errors.js'
import { type ClientSecrets, loadClientSecrets } from '../flows/client-secrets.js'
import type { ProviderOptions } from '../provider/preset.js'
import { google, isGoogleEndpoint } from '../provider/presets/google.js'
import type { ProfileOptions } from '../provider/profile.js'
import { Provider } from '../provider/provider.js'
import type { Watch } from '../telemetry/watch.js'
import { milliseconds } from './checks.js'
import type { RegistrationOptions } from './registration.js'

/** Options that say who we are. */
export type ClientOptions = Pick<
  RegistrationOptions,
  | 'provider'
  | 'clientId'
  | 'clientSecret'
  | 'clientSecretsFile'
  | 'clientAuthentication'
  | keyof ProfileOptions
  | 'dpop'
  | 'certificateBoundTokens'
  | 'fetch'
  | 'clock'
>

/**
 * @param timeout of one call to the provider, in ms
 * @throws {OptionError} {@link ClientSecretsError}
 */
export function resolveProvider(
  raw: ClientOptions,
  timeout?: number,
  watch?: Watch,
): { readonly provider: Provider; readonly clientSecrets: ClientSecrets | undefined } {
  const secrets = raw.clientSecretsFile === undefined ? undefined : loadClientSecrets(raw.clientSecretsFile)
  const clientId = raw.clientId ?? secrets?.clientId
  if (!clientId) throw new OptionError('clientId', 'is required: set it, or set clientSecretsFile.')
  // A secret belongs to one id: that of the file is of no use with another id.
  const clientSecret =
    raw.clientSecret ??
    (raw.clientId === undefined || raw.clientId === secrets?.clientId ? secrets?.clientSecret : undefined)
  const options = raw.provider ?? (secrets && providerFrom(secrets))
  if (!options)
    throw new OptionError('provider', 'is required: a preset such as google(), or { issuer: "https://..." }.')
  const provider = new Provider({
    provider: options,
    clientId,
    clientSecret,
    clientAuthentication: raw.clientAuthentication,
    clientKey: raw.clientKey,
    pushedAuthorizationRequests: raw.pushedAuthorizationRequests,
    signedRequestObjects: raw.signedRequestObjects,
    responseMode: raw.responseMode,
    dpop: raw.dpop,
    certificateBoundTokens: raw.certificateBoundTokens,
    fetch: raw.fetch,
    timeout: milliseconds('timeout', timeout),
    clock: raw.clock,
    watch,
  })
  return { provider, clientSecrets: secrets }
}

function providerFrom({ authUri, tokenUri, raw }: ClientSecrets): ProviderOptions {
  if (isGoogleEndpoint(authUri) && isGoogleEndpoint(tokenUri)) return google()
  const optional = ['jwks_uri', 'userinfo_endpoint', 'revocation_endpoint', 'end_session_endpoint'] as const
  return {
    // The file has no place for an issuer; without one, the origin has to do, and no ID token is asked for.
    issuer: typeof raw.issuer === 'string' ? raw.issuer : new URL(authUri).origin,
    authorization_endpoint: authUri,
    token_endpoint: tokenUri,
    // Older files name it after their other endpoints.
    ...(typeof raw.revoke_uri === 'string' ? { revocation_endpoint: raw.revoke_uri } : {}),
    ...Object.fromEntries(optional.filter((name) => typeof raw[name] === 'string').map((name) => [name, raw[name]])),
  }
}
