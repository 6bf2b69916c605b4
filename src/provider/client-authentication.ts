/** How we prove who we are. RFC 6749 section 2.3, RFC 7523, RFC 8705. Called by `provider.ts`. */
import type { ClientAuth, ServerMetadata } from 'openid-client'
import { OptionError } from '../errors.js'
import { type OpenIdClient, openidClient } from './libraries.js'
import type { Profile } from './profile.js'
import type { ProviderConfig } from './provider.js'

/**
 * How we prove who we are at the token endpoint. RFC 6749 section 2.3, RFC 7523, RFC 8705. A function is one of
 * `openid-client`, or of your own.
 *
 * @example
 * ```ts
 * import { type ClientAuthentication, Provider } from 'fastify-oauth2client/flows'
 *
 * // A server that does not decode what RFC 6749 section 2.3.1 makes clients encode.
 * const clientAuthentication: ClientAuthentication = 'client_secret_basic_raw'
 * const provider = new Provider({
 *   provider: { issuer: 'https://login.example.com' },
 *   clientId: 'web:prod',
 *   clientSecret: process.env.CLIENT_SECRET,
 *   clientAuthentication,
 * })
 * ```
 */
export type ClientAuthentication =
  | 'client_secret_post'
  | 'client_secret_basic'
  | 'client_secret_basic_raw'
  | 'private_key_jwt'
  | 'tls_client_auth'
  | 'self_signed_tls_client_auth'
  | 'none'
  | ClientAuth

/** Whether the certificate of the connection says who we are. RFC 8705 section 2. */
export function isCertificate(method: ClientAuthentication | undefined): boolean {
  return method === 'tls_client_auth' || method === 'self_signed_tls_client_auth'
}

/** @throws {OptionError} for a method that is not known, or lacks its secret or key */
export function clientAuthentication(
  { provider, clientId, clientSecret, clientAuthentication: chosen }: ProviderConfig,
  { key }: Profile,
): ClientAuth {
  const method = chosen ?? (clientSecret ? provider.clientAuthentication : key ? 'private_key_jwt' : 'none')
  if (typeof method === 'function') return method
  const secret = () => {
    if (!clientSecret) throw new OptionError('clientSecret', `is required for clientAuthentication "${method}".`)
    return clientSecret
  }
  switch (method) {
    case undefined: {
      const [post, basic] = [secretPost(secret()), basicAuth(formEncoded(clientId), formEncoded(secret()))]
      return (metadata, ...rest) => (asksForBasic(metadata) ? basic : post)(metadata, ...rest)
    }
    case 'client_secret_post':
      return secretPost(secret())
    case 'client_secret_basic':
      return basicAuth(formEncoded(clientId), formEncoded(secret()))
    case 'client_secret_basic_raw':
      // Many servers do not decode what RFC 6749 section 2.3.1 makes clients encode.
      return basicAuth(clientId, secret())
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return byLibrary(({ TlsClientAuth }) => TlsClientAuth())
    case 'none':
      return byLibrary(({ None }) => None())
    case 'private_key_jwt':
      if (key) return key.authenticate
      throw new OptionError(
        'clientAuthentication',
        '"private_key_jwt" needs a key: set clientKey, or pass PrivateKeyJwt(key) of openid-client instead of the name.',
      )
    default:
      throw new OptionError(
        'clientAuthentication',
        'must be client_secret_post, client_secret_basic, client_secret_basic_raw, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none.',
      )
  }
}

function asksForBasic({ token_endpoint_auth_methods_supported: methods }: ServerMetadata): boolean {
  return Array.isArray(methods) && methods.includes('client_secret_basic') && !methods.includes('client_secret_post')
}

/** What the library is asked for with the first request: options are judged at once, and it may not be loaded by then. */
function byLibrary(make: (client: typeof OpenIdClient) => ClientAuth): ClientAuth {
  let made: ClientAuth | undefined
  return async (...request) => {
    made ??= make(await openidClient())
    await made(...request)
  }
}

function secretPost(secret: string): ClientAuth {
  return byLibrary(({ ClientSecretPost }) => ClientSecretPost(secret))
}

function basicAuth(user: string, password: string): ClientAuth {
  const value = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  return (_as, _client, _body, headers) => headers.set('authorization', value)
}

/**
 * RFC 6749 section 2.3.1, without encoding more than forms have to (`-`, `_`, `.` and `*` stay): what most ids and secrets are
 * made of is then the same for servers that decode it and for those that do not.
 */
function formEncoded(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1)
}
