import type { ProviderOptions } from '../preset.js'
import { type IssuerOptions, originOf } from './shared.js'

/**
 * Keycloak: OpenID Connect by discovery, of a realm. Lasting access is an offline session, which outlives signing out there;
 * `offline: false` does without and ends with the person's session.
 *
 * @example
 * ```ts
 * import { keycloak } from 'fastify-oauth2client/providers'
 *
 * const provider = keycloak({ issuer: 'https://login.example.com/realms/main' })
 * ```
 */
export function keycloak({ issuer, rotation = 'strict' }: IssuerOptions): ProviderOptions {
  return {
    issuer,
    apiOrigins: [originOf(issuer)],
    offline: { scope: 'offline_access' },
    refresh: { rotation },
  }
}
