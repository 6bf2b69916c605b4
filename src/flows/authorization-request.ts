/** The way of an authorization request to the provider: in the URL, signed, or sent ahead. RFC 6749 section 4.1.1, RFC 9101, RFC 9126. */
import { OAuth2ClientError } from '../errors.js'
import type { ClientKey } from '../provider/client-key.js'
import { classify } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'

/**
 * Where to send the person. What was sent ahead leaves only the client's name and a reference in the URL, made for this one
 * request.
 *
 * @throws {ProviderFailure} when the provider does not take what is sent ahead
 * @throws {ProviderMetadataError} when an option asks for what the provider does not do
 */
export async function requestUrl(provider: Provider, params: Readonly<Record<string, string>>): Promise<URL> {
  const { profile } = provider
  const configuration = await provider.configuration()
  const { pushed, signed } = profile.at(await provider.metadata())
  const asked = { ...params, ...(profile.responseMode ? { response_mode: profile.responseMode } : {}) }
  const client = await openidClient()
  const sent = signed ? { request: await (profile.key as ClientKey).requestObject(configuration, asked) } : asked
  return pushed ? push(provider, sent) : client.buildAuthorizationUrl(configuration, sent)
}

async function push(provider: Provider, params: Record<string, string>): Promise<URL> {
  const exchange: Exchange = { what: 'pushed authorization request' }
  const client = await openidClient()
  try {
    return await provider.exchange(exchange, (configuration) =>
      client.buildAuthorizationUrlWithPAR(configuration, params),
    )
  } catch (error) {
    throw error instanceof OAuth2ClientError ? error : classify(exchange, error)
  }
}
