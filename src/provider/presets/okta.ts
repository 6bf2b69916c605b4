import type { ProviderOptions } from '../preset.js'
import { type IssuerOptions, originOf } from './shared.js'

/**
 * Okta: OpenID Connect by discovery, of an authorization server (`https://example.okta.com/oauth2/default`) or of the
 * organization (`https://example.okta.com`).
 *
 * @example
 * ```ts
 * import { okta } from 'fastify-oauth2client/providers'
 *
 * const provider = okta({ issuer: 'https://example.okta.com/oauth2/default' })
 * ```
 */
export function okta({ issuer, rotation = 'strict' }: IssuerOptions): ProviderOptions {
  return {
    issuer,
    apiOrigins: [originOf(issuer)],
    // Consent is a matter of the authorization server's policy; asking for it each time would be a page more.
    offline: { scope: 'offline_access' },
    refresh: { rotation },
  }
}
