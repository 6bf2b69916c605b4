import { salesforce } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

const tokens = ({ origin, accessToken, scopes, idToken }: Issued) => ({
  access_token: accessToken,
  signature: 'MEQCIBx5GkAS',
  scope: scopes.join(' '),
  id_token: idToken,
  instance_url: 'https://example.my.salesforce.com',
  id: `${origin}/id/00D50000000IZ3ZEAW/00550000001fg5OAAQ`,
  token_type: 'Bearer',
  issued_at: '1778456789012',
})

export const recording: Recording = {
  name: 'Salesforce',
  preset: (issuer) => salesforce({ issuer }),
  authorize: '/services/oauth2/authorize',
  token: '/services/oauth2/token',
  discovery: {
    at: '/.well-known/openid-configuration',
    jwks: '/id/keys',
    document: (origin) =>
      document(
        origin,
        {
          authorization_endpoint: `${origin}/services/oauth2/authorize`,
          token_endpoint: `${origin}/services/oauth2/token`,
          revocation_endpoint: `${origin}/services/oauth2/revoke`,
          userinfo_endpoint: `${origin}/services/oauth2/userinfo`,
          jwks_uri: `${origin}/id/keys`,
        },
        { scopes_supported: ['openid', 'email', 'offline_access', 'refresh_token', 'api'] },
      ),
  },
  more: 'api',
  asked: [{ scope: 'openid email refresh_token', prompt: null }, { scope: 'openid email refresh_token api' }],
  granted: [
    ['refresh_token', 'email', 'openid'],
    ['refresh_token', 'full', 'openid'],
  ],
  idToken: (origin) => ({ iss: origin, sub: `${origin}/id/00D50000000IZ3ZEAW/00550000001fg5OAAQ`, at_hash: 'x' }),
  tokens: (issued) => ({ ...tokens(issued), refresh_token: issued.refreshToken }),
  // A refresh token that stays; an ID token without nonce.
  // The organization was moved meanwhile.
  refreshed: (issued) => ({ ...tokens(issued), instance_url: 'https://moved.my.salesforce.com' }),
  claimsAfterRefresh: { instance_url: 'https://moved.my.salesforce.com' },
  user: '{origin}/id/00D50000000IZ3ZEAW/00550000001fg5OAAQ',
  email: 'admin@salesforce.example',
  claims: { instance_url: 'https://example.my.salesforce.com' },
  others: {
    'GET /services/oauth2/userinfo': (_heard, { origin }) => ({
      body: {
        sub: `${origin}/id/00D50000000IZ3ZEAW/00550000001fg5OAAQ`,
        user_id: '00550000001fg5OAAQ',
        organization_id: '00D50000000IZ3ZEAW',
        email: 'admin@salesforce.example',
        email_verified: true,
      },
    }),
    'POST /services/oauth2/revoke': ({ body }) => (body.token === 'rt-2' ? { status: 200 } : { status: 400, body: {} }),
  },
  revoked: 'revoked',
  errors: [
    [
      { status: 400, body: { error: 'invalid_grant', error_description: 'expired access/refresh token' } },
      'invalid_grant',
    ],
    [{ status: 400, body: { error: 'invalid_client_id', error_description: 'client identifier invalid' } }, 'client'],
    [{ status: 401, body: { error: 'invalid_client', error_description: 'invalid client credentials' } }, 'client'],
    [{ status: 400, body: { error: 'rate_limit_exceeded', error_description: 'too many' } }, 'rate_limited'],
  ],
}
