import { github } from '../../../src/provider/presets/index.js'
import type { Heard, RecordedProvider, Recording } from '../../helpers/recorded-provider.js'

const shared = {
  preset: (issuer) => github({ issuer }),
  authorize: '/login/oauth/authorize',
  token: '/login/oauth/access_token',
  // RFC 9207, by the name that it has on every host.
  back: (origin) => ({ iss: `${origin}/login/oauth` }),
  user: '583231',
  email: 'octocat@github.example',
  claims: { login: 'octocat', name: 'The Octocat' },
  revoked: 'revoked',
  others: {
    'GET /api/v3/user': ({ bearer }: Heard, { live }: RecordedProvider) =>
      live.has(bearer ?? '')
        ? { body: { login: 'octocat', id: 583231, node_id: 'MDQ6VXNlcjU4MzIzMQ==', name: 'The Octocat', email: null } }
        : { status: 401, body: { message: 'Bad credentials', status: '401' } },
    'GET /api/v3/user/emails': () => ({
      body: [
        { email: 'old@github.example', primary: false, verified: true, visibility: null },
        { email: 'octocat@github.example', primary: true, verified: true, visibility: 'private' },
      ],
    }),
    'DELETE /api/v3/applications/client-1/grant': ({ headers, body }: Heard, { live }: RecordedProvider) =>
      headers.authorization === `Basic ${Buffer.from('client-1:secret-1.of_the-client').toString('base64')}` &&
      live.delete(String(body.access_token))
        ? { status: 204 }
        : { status: 404, body: { message: 'Not Found', status: '404' } },
  },
  errors: [
    [
      { body: { error: 'bad_refresh_token', error_description: 'The refresh token passed is incorrect or expired.' } },
      'invalid_grant',
    ],
    [
      { body: { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' } },
      'invalid_grant',
    ],
    [{ body: { error: 'incorrect_client_credentials', error_description: 'The client_id is incorrect.' } }, 'client'],
    [{ body: { error: 'redirect_uri_mismatch', error_description: 'The redirect_uri MUST match.' } }, 'refused'],
    [{ status: 503, headers: { 'content-type': 'text/html' }, body: '<html>unicorn' }, 'in_doubt'],
  ],
} satisfies Partial<Recording>

/** Tokens of OAuth apps last. */
export const githubOAuthApp: Recording = {
  ...shared,
  name: 'GitHub OAuth app',
  scopes: ['read:user', 'user:email'],
  more: 'public_repo',
  asked: [{ scope: 'read:user user:email' }, { scope: 'user public_repo read:user user:email' }],
  // GitHub leaves out what a larger scope includes.
  granted: [['user'], ['repo', 'user']],
  tokens: ({ accessToken, scopes }) => ({ access_token: accessToken, token_type: 'bearer', scope: scopes.join(',') }),
}

/** Tokens of GitHub Apps expire, and know no scopes. */
export const githubApp: Recording = {
  ...shared,
  name: 'GitHub App',
  path: '/login/oauth',
  asked: [{ scope: null }],
  granted: [[]],
  tokens: ({ accessToken, refreshToken }) => ({
    access_token: accessToken,
    expires_in: 28800,
    refresh_token: refreshToken,
    refresh_token_expires_in: 15897600,
    token_type: 'bearer',
    scope: '',
  }),
  refreshed: ({ accessToken, refreshToken }) => ({
    access_token: accessToken,
    expires_in: 28800,
    refresh_token: refreshToken,
    refresh_token_expires_in: 15897600,
    token_type: 'bearer',
    scope: '',
  }),
}
