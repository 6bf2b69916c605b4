import { google } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

const DRIVE = 'https://www.googleapis.com/auth/drive.readonly'

const tokens = ({ accessToken, scopes, idToken }: Issued) => ({
  access_token: accessToken,
  expires_in: 3599,
  scope: scopes.join(' '),
  token_type: 'Bearer',
  id_token: idToken,
})

export const recording: Recording = {
  name: 'Google',
  preset: (issuer) => google({ issuer }),
  authorize: '/o/oauth2/v2/auth',
  token: '/token',
  discovery: {
    at: '/.well-known/openid-configuration',
    jwks: '/oauth2/v3/certs',
    document: (origin) =>
      document(
        origin,
        {
          authorization_endpoint: `${origin}/o/oauth2/v2/auth`,
          token_endpoint: `${origin}/token`,
          revocation_endpoint: `${origin}/revoke`,
          jwks_uri: `${origin}/oauth2/v3/certs`,
        },
        { scopes_supported: ['openid', 'email', 'profile'], code_challenge_methods_supported: ['plain', 'S256'] },
      ),
  },
  more: DRIVE,
  asked: [
    { scope: 'openid email', access_type: 'offline', include_granted_scopes: 'true', prompt: null },
    // The union is asked for with the names that were answered.
    { include_granted_scopes: 'true', access_type: 'offline' },
  ],
  granted: [
    ['https://www.googleapis.com/auth/userinfo.email', 'openid'],
    [DRIVE, 'https://www.googleapis.com/auth/userinfo.email', 'openid'],
  ],
  back: () => ({ scope: 'email openid', authuser: '0', prompt: 'consent' }),
  idToken: (origin) => ({
    iss: origin,
    sub: '10769150350006150715113082367',
    azp: 'client-1',
    email: 'g@google.example',
  }),
  tokens: (issued) => ({ ...tokens(issued), refresh_token: issued.refreshToken, refresh_token_expires_in: 604799 }),
  refreshed: tokens,
  user: '10769150350006150715113082367',
  email: 'g@google.example',
  others: {
    'POST /revoke': ({ body }) =>
      body.token ? { body: {} } : { status: 400, body: { error: 'invalid_token', error_description: 'Token expired' } },
  },
  revoked: 'revoked',
  errors: [
    [
      { status: 400, body: { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'invalid_client', error_description: 'Unauthorized' } }, 'client'],
  ],
}
