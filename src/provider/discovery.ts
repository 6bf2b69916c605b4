/** Looks up a provider's metadata: OpenID Connect Discovery first, then RFC 8414. Called once by `provider.ts`. */
import * as client from 'openid-client'
import { ProviderMetadataError, ProviderUnavailableError } from '../errors.js'
import { sanitizedCause } from './failure.js'
import { boundedFetch } from './http.js'
import type { ProviderMetadata } from './preset.js'
import type { Provider } from './provider.js'

const OIDC_PATH = '/.well-known/openid-configuration'

/**
 * @param written metadata that is in the options
 * @throws {ProviderUnavailableError} when no metadata can be had at the moment
 * @throws {ProviderMetadataError} when it belongs to another issuer
 */
export async function discover(provider: Provider, written: Partial<ProviderMetadata>): Promise<ProviderMetadata> {
  const { validIssuer } = provider.options
  // The whole address makes the library leave the issuer to us, who know its other names.
  const server = new URL(validIssuer ? `${provider.issuer.replace(/\/$/, '')}${OIDC_PATH}` : provider.issuer)
  const lookUp = (algorithm: 'oidc' | 'oauth2') =>
    client.discovery(server, provider.clientId, undefined, client.None(), {
      algorithm,
      // The deadline is in boundedFetch. This one only must not come first, nor be more than a timer can wait.
      timeout: Math.min(Math.ceil(provider.timeout / 1000) + 1, 2_147_483),
      // Whether plain HTTP is acceptable was decided from the configured issuer, and is decided again for each endpoint.
      execute: [client.allowInsecureRequests],
      [client.customFetch]: boundedFetch(provider.fetch, provider.timeout) as client.CustomFetch,
    })
  let configuration: client.Configuration
  try {
    configuration = await lookUp('oidc').catch((error: unknown) => {
      if (notFound(error) && !server.pathname.includes('/.well-known/')) return lookUp('oauth2')
      throw error
    })
  } catch (error) {
    const found = foundIssuer(error)
    if (found !== undefined) throw anotherIssuer(provider, found)
    throw new ProviderUnavailableError({ cause: sanitizedCause(error) })
  }
  const metadata = configuration.serverMetadata() as unknown as ProviderMetadata
  if (validIssuer && !provider.isIssuer(metadata.issuer)) throw anotherIssuer(provider, metadata.issuer.slice(0, 200))
  // What is written in the options wins over what was looked up; who the provider is, it says itself.
  const set = Object.entries(written).filter(([, value]) => value !== undefined)
  return { ...metadata, ...Object.fromEntries(set), issuer: metadata.issuer }
}

function anotherIssuer({ issuer }: Provider, found: string): Error {
  return new ProviderMetadataError(
    `the configured issuer is "${issuer}", but its metadata says "${found}". Configure exactly what it says, if you trust it.`,
  )
}

function notFound(error: unknown): boolean {
  const response = error instanceof Error ? error.cause : undefined
  return response instanceof Response && (response.status === 404 || response.status === 400)
}

function foundIssuer(error: unknown): string | undefined {
  const cause =
    error instanceof Error ? (error.cause as { attribute?: unknown; body?: { issuer?: unknown } }) : undefined
  return cause?.attribute === 'issuer' && typeof cause.body?.issuer === 'string'
    ? cause.body.issuer.slice(0, 200)
    : undefined
}
