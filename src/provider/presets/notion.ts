import type { ProviderOptions } from '../preset.js'
import { base, getJson, idOf, isObject, optional, originOf, type PresetOptions, withoutNulls } from './shared.js'

const VERSION = { 'notion-version': '2022-06-28' }

/**
 * Notion: no scopes, since people choose pages instead; no expiry; requests to the token endpoint in JSON, with the client's
 * secret in the header. The person is the owner of the token's bot, and `claims` hold `workspace_id` and `bot_id`. Requests
 * to the API need the header `notion-version`.
 *
 * @example
 * ```ts
 * import { notion } from 'fastify-oauth2client/providers'
 *
 * const provider = notion()
 * ```
 */
export function notion({ issuer = 'https://api.notion.com' }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer)
  // Written down: Notion publishes no metadata for this API.
  return {
    issuer,
    authorization_endpoint: `${host}/v1/oauth/authorize`,
    token_endpoint: `${host}/v1/oauth/token`,
    apiOrigins: [originOf(issuer)],
    authorizationParams: { owner: 'user' },
    offline: {},
    // Where there are refresh tokens at all, each works once.
    refresh: { rotation: 'rotating' },
    requestBody: 'json',
    // Client ids have hyphens, which Notion does not decode.
    clientAuthentication: 'client_secret_basic_raw',
    normalizeTokenResponse: withoutNulls,
    tokenClaims: ['bot_id', 'workspace_id', 'workspace_name'],
    async identity({ accessToken, fetch }) {
      const { id, bot } = await getJson({ accessToken, fetch }, `${host}/v1/users/me`, VERSION)
      const owner = isObject(bot) && isObject(bot.owner) && isObject(bot.owner.user) ? bot.owner.user : undefined
      // A token of the workspace has no person behind it, only the bot.
      if (!owner) return { id: idOf(id) }
      const email = isObject(owner.person) ? owner.person.email : undefined
      return { id: idOf(owner.id), ...optional('email', email), claims: optional('name', owner.name) }
    },
    async revoke({ accessToken, clientId, clientSecret, fetch }) {
      const { ok } = await fetch(`${host}/v1/oauth/revoke`, {
        method: 'POST',
        headers: {
          ...VERSION,
          authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret ?? ''}`).toString('base64')}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ token: accessToken }),
      })
      return ok
    },
  }
}
