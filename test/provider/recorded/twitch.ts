import { twitch } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

const tokens = ({ accessToken, refreshToken, scopes }: Issued) => ({
  access_token: accessToken,
  expires_in: 14124,
  refresh_token: refreshToken,
  scope: scopes,
  token_type: 'bearer',
})

const shared = {
  preset: (issuer) => twitch({ issuer }),
  path: '/oauth2',
  authorize: '/oauth2/authorize',
  token: '/oauth2/token',
  discovery: {
    at: '/oauth2/.well-known/openid-configuration',
    jwks: '/oauth2/keys',
    document: (origin) =>
      document(
        `${origin}/oauth2`,
        {
          authorization_endpoint: `${origin}/oauth2/authorize`,
          token_endpoint: `${origin}/oauth2/token`,
          userinfo_endpoint: `${origin}/oauth2/userinfo`,
          jwks_uri: `${origin}/oauth2/keys`,
        },
        { scopes_supported: ['openid'], token_endpoint_auth_methods_supported: ['client_secret_post'] },
      ),
  },
  refreshed: tokens,
  user: '713936733',
  others: {
    'GET /oauth2/validate': ({ bearer, headers }, { live }) =>
      live.has(bearer ?? '') && String(headers.authorization).startsWith('OAuth ')
        ? { body: { client_id: 'client-1', login: 'twitchdev', scopes: [], user_id: '713936733', expires_in: 5520838 } }
        : { status: 401, body: { status: 401, message: 'invalid access token' } },
    'POST /oauth2/revoke': ({ body }, { live }) =>
      body.client_id === 'client-1' && live.delete(String(body.token))
        ? { status: 200 }
        : { status: 400, body: { status: 400, message: 'Invalid token' } },
  },
  revoked: 'revoked',
  errors: [
    [{ status: 400, body: { error: 'Bad Request', status: 400, message: 'Invalid refresh token' } }, 'invalid_grant'],
    [{ status: 401, body: { status: 401, message: 'Invalid refresh token' } }, 'invalid_grant'],
    [{ status: 400, body: { status: 400, message: 'Invalid authorization code' } }, 'invalid_grant'],
    [{ status: 403, body: { status: 403, message: 'invalid client secret' } }, 'client'],
    [{ status: 400, body: { status: 400, message: 'missing grant type' } }, 'refused'],
  ],
} satisfies Partial<Recording>

const CLAIMS = '{"id_token":{"email":null,"email_verified":null,"preferred_username":null}}'

export const twitchOpenId: Recording = {
  ...shared,
  name: 'Twitch',
  more: 'channel:manage:polls',
  asked: [
    { scope: 'openid user:read:email', claims: CLAIMS },
    { scope: 'openid user:read:email channel:manage:polls' },
  ],
  granted: [
    ['openid', 'user:read:email'],
    ['channel:manage:polls', 'openid', 'user:read:email'],
  ],
  idToken: (origin) => ({
    iss: `${origin}/oauth2`,
    sub: '713936733',
    azp: 'client-1',
    email: 'dev@twitch.example',
    email_verified: true,
    preferred_username: 'TwitchDev',
  }),
  tokens: (issued) => ({ ...tokens(issued), id_token: issued.idToken, nonce: 'n' }),
  email: 'dev@twitch.example',
  claims: { preferred_username: 'TwitchDev' },
}

export const twitchPlain: Recording = {
  ...shared,
  name: 'Twitch without OpenID Connect',
  scopes: ['chat:read'],
  more: 'chat:edit',
  asked: [{ scope: 'chat:read', nonce: null }, { scope: 'chat:read chat:edit' }],
  granted: [['chat:read'], ['chat:edit', 'chat:read']],
  tokens,
  claims: { preferred_username: 'twitchdev' },
}
