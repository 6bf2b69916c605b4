import { discord } from '../../../src/provider/presets/index.js'
import type { Issued, Recording } from '../../helpers/recorded-provider.js'

const tokens = ({ accessToken, refreshToken, scopes }: Issued) => ({
  token_type: 'Bearer',
  access_token: accessToken,
  expires_in: 604800,
  refresh_token: refreshToken,
  scope: scopes.join(' '),
})

export const recording: Recording = {
  name: 'Discord',
  preset: (issuer) => discord({ issuer }),
  authorize: '/oauth2/authorize',
  token: '/api/oauth2/token',
  scopes: ['email'],
  more: 'guilds',
  asked: [{ scope: 'email identify' }, { scope: 'email identify guilds' }],
  back: (origin) => ({ iss: origin }),
  // In an order of its own.
  granted: [
    ['identify', 'email'],
    ['guilds', 'identify', 'email'],
  ],
  tokens,
  refreshed: tokens,
  user: '80351110224678912',
  email: 'nelly@discord.example',
  claims: { preferred_username: 'nelly', name: 'Nelly' },
  others: {
    'GET /api/users/@me': ({ bearer }, { live }) =>
      live.has(bearer ?? '')
        ? {
            body: {
              id: '80351110224678912',
              username: 'nelly',
              discriminator: '0',
              global_name: 'Nelly',
              email: 'nelly@discord.example',
              verified: true,
            },
          }
        : { status: 401, body: { message: '401: Unauthorized', code: 0 } },
    'POST /api/oauth2/token/revoke': ({ body }, { refreshToken }) =>
      body.token === refreshToken && body.client_id
        ? { body: {} }
        : { status: 400, body: { error: 'invalid_request' } },
  },
  revoked: 'revoked',
  errors: [
    [
      { status: 400, body: { error: 'invalid_grant', error_description: 'Invalid "refresh_token" in request.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'invalid_client' } }, 'client'],
    [
      {
        status: 429,
        headers: { 'retry-after': '65' },
        body: { message: 'You are being rate limited.', retry_after: 64.57, global: false },
      },
      'rate_limited',
    ],
  ],
}
