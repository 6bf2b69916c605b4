import type { ProviderOptions, RotationProfile } from '../preset.js'
import { originOf, type PresetOptions } from './shared.js'

/** Options of {@link salesforce}. */
export interface SalesforceOptions extends PresetOptions {
  /** A sandbox: `https://test.salesforce.com`. Default `false`. */
  readonly sandbox?: boolean
  /** Set it to `'strict'` if the app has refresh token rotation. Default `'none'`. */
  readonly rotation?: RotationProfile['rotation']
}

/**
 * Salesforce: OpenID Connect by discovery. Where an organization's API is, `claims.instance_url` says. Nobody says how long
 * an access token lasts: it is refreshed when the API refuses it. Lasting access is the scope `refresh_token`.
 *
 * @param options.issuer a My Domain, such as `https://example.my.salesforce.com`
 * @example
 * ```ts
 * import { salesforce } from 'fastify-oauth2client/providers'
 *
 * const production = salesforce()
 * const sandbox = salesforce({ sandbox: true })
 * const company = salesforce({ issuer: 'https://example.my.salesforce.com' })
 * ```
 */
export function salesforce(options: SalesforceOptions = {}): ProviderOptions {
  const { sandbox = false, rotation = 'none' } = options
  const issuer = options.issuer ?? `https://${sandbox ? 'test' : 'login'}.salesforce.com`
  const own = /^https:\/\/(?:[^/]+\.)?salesforce\.com\/?$/.test(issuer)
  // Discovery: a My Domain signs with an issuer and keys of its own.
  return {
    issuer,
    // An instance's host is the organization's, which nobody knows beforehand.
    apiOrigins: [own ? 'https://*.salesforce.com' : originOf(issuer)],
    scopes: {
      aliases: { offline_access: 'refresh_token' },
      implies: { full: ['api', 'web', 'id', 'profile', 'email', 'address', 'phone', 'chatter_api', 'visualforce'] },
      unreported: ['refresh_token'],
    },
    offline: { scope: 'refresh_token' },
    refresh: { rotation },
    errors: {
      invalid_client_id: 'invalid_client',
      invalid_client_credentials: 'invalid_client',
      rate_limit_exceeded: 'slow_down',
    },
    tokenClaims: ['instance_url'],
  }
}
