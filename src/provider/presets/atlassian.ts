import type { ProviderOptions } from '../preset.js'
import { base, getJson, idOf, optional, originOf, type PresetOptions } from './shared.js'

const ISSUER = 'https://auth.atlassian.com'

/**
 * Atlassian (Jira, Confluence) with OAuth 2.0 (3LO): refresh tokens of which each works once, or again within ten minutes.
 * The person is the `account_id` of `/me`, for which the scope `read:me` is always asked for. APIs are under
 * `https://api.atlassian.com/ex/jira/<cloud id>`; `/oauth/token/accessible-resources` lists the ids. Nothing can be revoked.
 *
 * @example
 * ```ts
 * import { atlassian } from 'fastify-oauth2client/providers'
 *
 * const provider = atlassian()
 * ```
 */
export function atlassian({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer)
  const api = issuer === ISSUER ? 'https://api.atlassian.com' : host
  // Written down: what the host's discovery describes is not what apps with 3LO get.
  return {
    issuer,
    authorization_endpoint: `${host}/authorize`,
    token_endpoint: `${host}/oauth/token`,
    apiOrigins: [originOf(api)],
    authorizationParams: { audience: 'api.atlassian.com' },
    identityScopes: ['read:me'],
    scopes: { unreported: ['offline_access'] },
    // Without the question, a person who was here before is sent back without a refresh token.
    offline: { scope: 'offline_access', params: { prompt: 'consent' } },
    // What is asked again after a lost answer is answered again.
    refresh: { rotation: 'rotating' },
    // What a wrong secret is called.
    errors: { access_denied: 'invalid_client' },
    async identity({ accessToken, fetch }) {
      const { account_id, email, name, picture } = await getJson({ accessToken, fetch }, `${api}/me`)
      const claims = { ...optional('name', name), ...optional('picture', picture) }
      return { id: idOf(account_id), ...optional('email', email), claims }
    },
  }
}
