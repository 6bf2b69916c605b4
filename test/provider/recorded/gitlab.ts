import { gitlab } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

const tokens = ({ accessToken, refreshToken, scopes, idToken }: Issued) => ({
  access_token: accessToken,
  token_type: 'Bearer',
  expires_in: 7200,
  refresh_token: refreshToken,
  scope: scopes.join(' '),
  created_at: 1607635748,
  id_token: idToken,
})

export const recording: Recording = {
  name: 'GitLab under a relative path',
  path: '/gitlab',
  preset: (issuer) => gitlab({ issuer }),
  authorize: '/gitlab/oauth/authorize',
  token: '/gitlab/oauth/token',
  discovery: {
    at: '/gitlab/.well-known/openid-configuration',
    jwks: '/gitlab/oauth/discovery/keys',
    document: (origin) =>
      document(
        `${origin}/gitlab`,
        {
          authorization_endpoint: `${origin}/gitlab/oauth/authorize`,
          token_endpoint: `${origin}/gitlab/oauth/token`,
          revocation_endpoint: `${origin}/gitlab/oauth/revoke`,
          userinfo_endpoint: `${origin}/gitlab/oauth/userinfo`,
          jwks_uri: `${origin}/gitlab/oauth/discovery/keys`,
        },
        { scopes_supported: ['api', 'read_api', 'read_user', 'openid', 'profile', 'email'] },
      ),
  },
  more: 'read_api',
  asked: [{ scope: 'openid email', prompt: null }, { scope: 'openid email read_api' }],
  granted: [
    ['openid', 'email'],
    ['openid', 'email', 'api'],
  ],
  idToken: (origin) => ({ iss: `${origin}/gitlab`, sub: '1', sub_legacy: 'x', auth_time: 1607635748 }),
  tokens,
  refreshed: tokens,
  user: '1',
  email: 'admin@gitlab.example',
  others: {
    'GET /gitlab/oauth/userinfo': () => ({ body: { sub: '1', nickname: 'root', email: 'admin@gitlab.example' } }),
    'POST /gitlab/oauth/revoke': ({ body }, { refreshToken }) =>
      body.token === refreshToken ? { body: {} } : { status: 403, body: { error: 'unauthorized_client' } },
  },
  revoked: 'revoked',
  errors: [
    [
      {
        status: 400,
        body: {
          error: 'invalid_grant',
          error_description: 'The provided authorization grant is invalid, expired, revoked.',
        },
      },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'invalid_client', error_description: 'Client authentication failed.' } }, 'client'],
  ],
}
