import type { ProviderOptions } from '../preset.js'
import { base, getJson, idOf, isObject, optional, originOf, type PresetOptions } from './shared.js'

const ISSUER = 'https://id.twitch.tv/oauth2'

/**
 * Twitch: OpenID Connect by discovery, or without `openid` by asking whose token it is. The e-mail address comes with
 * `user:read:email`. Scopes are answered as a list, errors as sentences. Requests to the API need the header `client-id`, and
 * apps have to check each hour that a token still works (`/oauth2/validate`).
 *
 * @example
 * ```ts
 * import { twitch } from 'fastify-oauth2client/providers'
 *
 * const provider = twitch()
 * ```
 */
export function twitch({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer)
  // Discovery, for the keys that sign ID tokens.
  return {
    issuer,
    apiOrigins: [issuer === ISSUER ? 'https://api.twitch.tv' : originOf(issuer)],
    defaultScopes: ['openid', 'user:read:email'],
    // Left alone, ID tokens hold no address.
    authorizationParams: { claims: '{"id_token":{"email":null,"email_verified":null,"preferred_username":null}}' },
    offline: {},
    refresh: { rotation: 'none' },
    normalizeTokenResponse({ message, ...body }) {
      const scope = Array.isArray(body.scope) ? body.scope.join(' ') : body.scope
      const error = typeof message === 'string' ? (SENTENCES[message.toLowerCase()] ?? body.error) : body.error
      return { ...body, ...(scope === undefined ? {} : { scope }), ...(error === undefined ? {} : { error }) }
    },
    async identity({ accessToken, fetch }) {
      // The one place where Twitch has a scheme of its own.
      const headers = { authorization: `OAuth ${accessToken}` }
      const { user_id, login } = await getJson({ accessToken, fetch }, `${host}/validate`, headers)
      return { id: idOf(user_id), claims: optional('preferred_username', login) }
    },
    // Only access tokens are accepted, and no client authentication.
    async revoke({ accessToken, clientId, fetch }) {
      const response = await fetch(`${host}/revoke`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ client_id: clientId, token: accessToken }).toString(),
      })
      if (response.ok) return true
      const body: unknown = await response.json()
      return response.status === 400 && isObject(body) && body.message === 'Invalid token'
    },
  }
}

const SENTENCES: Readonly<Record<string, string>> = {
  'invalid refresh token': 'invalid_grant',
  'invalid authorization code': 'invalid_grant',
  'invalid client': 'invalid_client',
  'invalid client secret': 'invalid_client',
  'client does not exist': 'invalid_client',
  'missing client id': 'invalid_client',
  'missing client secret': 'invalid_client',
}
