import { signInWithSlack, slack } from '../../../src/provider/presets/index.js'
import {
  document,
  type Heard,
  type Issued,
  type RecordedProvider,
  type Recording,
} from '../../helpers/recorded-provider.js'

const errors: Recording['errors'] = [
  [{ body: { ok: false, error: 'invalid_refresh_token' } }, 'invalid_grant'],
  [{ body: { ok: false, error: 'invalid_code' } }, 'invalid_grant'],
  [{ body: { ok: false, error: 'bad_client_secret' } }, 'client'],
  [{ body: { ok: false, error: 'internal_error' } }, 'in_doubt'],
  [{ status: 429, headers: { 'retry-after': '30' }, body: { ok: false, error: 'ratelimited' } }, 'rate_limited'],
]

const userTokens = ({ accessToken, scopes }: Issued, rotating: object) => ({
  ok: true,
  app_id: 'A0KRD7HC3',
  authed_user: { id: 'U1234', scope: scopes.join(','), access_token: accessToken, token_type: 'user', ...rotating },
  team: { name: 'Slack Softball Team', id: 'T9TK3CUKW' },
  enterprise: null,
  is_enterprise_install: false,
})

const shared = {
  preset: (issuer) => slack({ issuer }),
  authorize: '/oauth/v2/authorize',
  token: '/api/oauth.v2.access',
  scopes: ['users:read'],
  more: 'chat:write',
  asked: [
    { user_scope: 'users:read', scope: null },
    { user_scope: 'users:read,chat:write', scope: null },
  ],
  granted: [['users:read'], ['users:read', 'chat:write']],
  user: 'T9TK3CUKW-U1234',
  claims: { name: 'grace', team: { name: 'Slack Softball Team', id: 'T9TK3CUKW' } },
  revoked: 'revoked',
  others: {
    'POST /api/auth.test': ({ bearer }: Heard, { live }: RecordedProvider) => ({
      body: live.has(bearer ?? '')
        ? {
            ok: true,
            url: 'https://t.slack.example/',
            team: 'T',
            user: 'grace',
            team_id: 'T9TK3CUKW',
            user_id: 'U1234',
          }
        : { ok: false, error: 'invalid_auth' },
    }),
    'POST /api/auth.revoke': ({ bearer }: Heard, { live }: RecordedProvider) => ({
      body: live.delete(bearer ?? '') ? { ok: true, revoked: true } : { ok: false, error: 'invalid_auth' },
    }),
  },
  errors,
} satisfies Partial<Recording>

/** Without token rotation, tokens last. */
export const slackLasting: Recording = { ...shared, name: 'Slack', tokens: (issued) => userTokens(issued, {}) }

export const slackRotating: Recording = {
  ...shared,
  name: 'Slack with token rotation',
  tokens: (issued) => userTokens(issued, { refresh_token: issued.refreshToken, expires_in: 43200 }),
  // Not nested, as the tokens of a sign-in are.
  refreshed: ({ accessToken, refreshToken, scopes }) => ({
    ok: true,
    access_token: accessToken,
    expires_in: 43200,
    refresh_token: refreshToken,
    token_type: 'user',
    scope: scopes.join(','),
    app_id: 'A0KRD7HC3',
    authed_user: { id: 'U1234' },
    team: { id: 'T9TK3CUKW', name: 'Slack Softball Team' },
    enterprise: null,
  }),
}

export const slackSignIn: Recording = {
  name: 'Sign in with Slack',
  preset: (issuer) => signInWithSlack({ issuer }),
  authorize: '/openid/connect/authorize',
  token: '/api/openid.connect.token',
  discovery: {
    at: '/.well-known/openid-configuration',
    jwks: '/openid/connect/keys',
    document: (origin) =>
      document(origin, {
        authorization_endpoint: `${origin}/openid/connect/authorize`,
        token_endpoint: `${origin}/api/openid.connect.token`,
        userinfo_endpoint: `${origin}/api/openid.connect.userInfo`,
        jwks_uri: `${origin}/openid/connect/keys`,
      }),
  },
  asked: [{ scope: 'openid email', prompt: null }],
  granted: [['openid', 'email']],
  idToken: (origin) => ({
    iss: origin,
    sub: 'U1234',
    email: 'grace@slack.example',
    'https://slack.com/team_id': 'T9TK3CUKW',
  }),
  tokens: ({ accessToken, idToken }) => ({
    ok: true,
    access_token: accessToken,
    token_type: 'Bearer',
    id_token: idToken,
  }),
  user: 'U1234',
  email: 'grace@slack.example',
  claims: { 'https://slack.com/team_id': 'T9TK3CUKW' },
  revoked: 'unsupported',
  errors,
}
