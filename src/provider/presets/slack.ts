import { toText } from '../json.js'
import type { ProviderOptions } from '../preset.js'
import { base, getJson, idOf, isObject, optional, originOf, type PresetOptions } from './shared.js'

const ISSUER = 'https://slack.com'

// What the token endpoints say, always with HTTP 200.
const ERRORS = {
  invalid_code: 'invalid_grant',
  code_already_used: 'invalid_grant',
  code_expired: 'invalid_grant',
  invalid_refresh_token: 'invalid_grant',
  authorization_not_found: 'invalid_grant',
  token_expired: 'invalid_grant',
  token_revoked: 'invalid_grant',
  account_inactive: 'invalid_grant',
  bad_client_secret: 'invalid_client',
  invalid_client_id: 'invalid_client',
  bad_redirect_uri: 'invalid_request',
  invalid_grant_type: 'unsupported_grant_type',
  ratelimited: 'slow_down',
  internal_error: 'server_error',
  fatal_error: 'server_error',
  request_timeout: 'server_error',
  service_unavailable: 'temporarily_unavailable',
}

/**
 * Slack's tokens of people (`xoxp-`), for its Web API: scopes go into `user_scope`, separated by commas, and what is granted
 * adds up. Tokens come inside of `authed_user`, errors with HTTP 200. They last forever, unless token rotation is on for the
 * app. The person is the workspace and the user in it. To let people sign in and no more, see {@link signInWithSlack}.
 *
 * @example
 * ```ts
 * import { slack } from 'fastify-oauth2client/providers'
 *
 * const provider = slack()
 * ```
 */
export function slack({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer)
  // Written down: Slack's discovery is about signing in, and names other endpoints.
  return {
    issuer,
    authorization_endpoint: `${host}/oauth/v2/authorize`,
    token_endpoint: `${host}/api/oauth.v2.access`,
    apiOrigins: issuer === ISSUER ? [ISSUER, 'https://files.slack.com'] : [originOf(issuer)],
    scopeParam: 'user_scope',
    scopeDelimiter: ',',
    offline: {},
    refresh: { rotation: 'rotating' },
    errors: ERRORS,
    normalizeTokenResponse(body) {
      // A refresh is answered without the nesting.
      const tokens = isObject(body.authed_user) && body.authed_user.access_token ? body.authed_user : body
      const { access_token, refresh_token, expires_in, scope, token_type } = tokens
      const rest = { ...body, access_token, refresh_token, expires_in, scope }
      return defined(token_type === 'user' || token_type === 'bot' ? { ...rest, token_type: 'Bearer' } : rest)
    },
    tokenClaims: ['team', 'enterprise'],
    async identity({ accessToken, fetch }) {
      const { ok, team_id, user_id, user } = await getJson({ accessToken, fetch }, `${host}/api/auth.test`, {}, 'POST')
      if (ok !== true) throw new TypeError('auth.test answered that something is wrong')
      // A user's id is one of its workspace.
      return { id: `${idOf(team_id)}-${idOf(user_id)}`, claims: optional('name', user) }
    },
    async revoke({ accessToken, fetch }) {
      const body = await getJson({ accessToken, fetch }, `${host}/api/auth.revoke`, {}, 'POST')
      return body.ok === true || GONE.has(toText(body.error))
    },
  }
}

const GONE = new Set(['invalid_auth', 'token_revoked', 'token_expired', 'account_inactive'])

/**
 * Sign in with Slack: OpenID Connect by discovery, for `openid`, `email` and `profile`, and nothing else.
 *
 * @example
 * ```ts
 * import { signInWithSlack } from 'fastify-oauth2client/providers'
 *
 * const provider = signInWithSlack()
 * ```
 */
export function signInWithSlack({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  return {
    issuer,
    apiOrigins: [originOf(issuer)],
    // Answers say nothing of scopes; there is no lasting access to ask for.
    offline: {},
    refresh: { rotation: 'rotating' },
    errors: ERRORS,
  }
}

function defined(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== null))
}
