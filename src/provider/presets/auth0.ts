import type { ProviderOptions } from '../preset.js'
import { type IssuerOptions, originOf } from './shared.js'

/** Options of {@link auth0}. */
export interface Auth0Options extends IssuerOptions {
  /** The API that access tokens are for. Without it, they are for the user's profile only. */
  readonly audience?: string
}

/**
 * Auth0: OpenID Connect by discovery. The access token is for the API that `audience` names.
 *
 * @example
 * ```ts
 * import { auth0 } from 'fastify-oauth2client/providers'
 *
 * const provider = auth0({ issuer: 'https://example.eu.auth0.com/', audience: 'https://api.example.com' })
 * ```
 */
export function auth0({ issuer, audience, rotation = 'strict' }: Auth0Options): ProviderOptions {
  return {
    issuer,
    apiOrigins: [originOf(issuer)],
    authorizationParams: audience === undefined ? {} : { audience },
    offline: { scope: 'offline_access' },
    refresh: { rotation },
    // What a wrong secret is called.
    errors: { access_denied: 'invalid_client', too_many_requests: 'slow_down' },
  }
}
