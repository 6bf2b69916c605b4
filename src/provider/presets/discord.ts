import type { ProviderOptions } from '../preset.js'
import { base, getJson, idOf, optional, originOf, type PresetOptions } from './shared.js'

/**
 * Discord: access tokens of a week, refresh tokens of which each works once. The person is the `id` of `/users/@me`, for
 * which the scope `identify` is always asked for. Revoking one token ends the whole authorization.
 *
 * @example
 * ```ts
 * import { discord } from 'fastify-oauth2client/providers'
 *
 * const provider = discord()
 * ```
 */
export function discord({ issuer = 'https://discord.com' }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer)
  // Written down: these have not moved in years, and no ID token is needed.
  return {
    issuer,
    authorization_endpoint: `${host}/oauth2/authorize`,
    token_endpoint: `${host}/api/oauth2/token`,
    revocation_endpoint: `${host}/api/oauth2/token/revoke`,
    apiOrigins: [originOf(issuer)],
    identityScopes: ['identify'],
    offline: {},
    refresh: { rotation: 'rotating' },
    async identity({ accessToken, fetch }) {
      const { id, username, global_name, email } = await getJson({ accessToken, fetch }, `${host}/api/users/@me`)
      const claims = { ...optional('preferred_username', username), ...optional('name', global_name) }
      return { id: idOf(id), ...optional('email', email), claims }
    },
  }
}
