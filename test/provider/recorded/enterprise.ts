/** Okta, Auth0 and Keycloak: close to the standards, each in its way. */
import { auth0, keycloak, okta } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

const oktaTokens = ({ accessToken, refreshToken, scopes, idToken }: Issued) => ({
  token_type: 'Bearer',
  expires_in: 3600,
  access_token: accessToken,
  scope: scopes.join(' '),
  refresh_token: refreshToken,
  id_token: idToken,
})

const scopes = {
  more: 'files.read',
  asked: [{ scope: 'openid email offline_access', prompt: null }, { scope: 'openid email offline_access files.read' }],
  granted: [
    ['offline_access', 'openid', 'email'],
    ['offline_access', 'files.read', 'openid', 'email'],
  ],
} satisfies Partial<Recording>

export const oktaRecording: Recording = {
  ...scopes,
  name: 'Okta',
  path: '/oauth2/default',
  preset: (issuer) => okta({ issuer }),
  authorize: '/oauth2/default/v1/authorize',
  token: '/oauth2/default/v1/token',
  discovery: {
    at: '/oauth2/default/.well-known/openid-configuration',
    jwks: '/oauth2/default/v1/keys',
    document: (origin) =>
      document(
        `${origin}/oauth2/default`,
        {
          authorization_endpoint: `${origin}/oauth2/default/v1/authorize`,
          token_endpoint: `${origin}/oauth2/default/v1/token`,
          revocation_endpoint: `${origin}/oauth2/default/v1/revoke`,
          userinfo_endpoint: `${origin}/oauth2/default/v1/userinfo`,
          jwks_uri: `${origin}/oauth2/default/v1/keys`,
        },
        { scopes_supported: ['openid', 'email', 'offline_access'], code_challenge_methods_supported: ['S256'] },
      ),
  },
  idToken: (origin) => ({
    iss: `${origin}/oauth2/default`,
    sub: '00uid4BxXw6I6TV4m0g3',
    ver: 1,
    email: 'a@okta.example',
  }),
  tokens: oktaTokens,
  refreshed: oktaTokens,
  user: '00uid4BxXw6I6TV4m0g3',
  email: 'a@okta.example',
  others: { 'POST /oauth2/default/v1/revoke': () => ({ status: 200 }) },
  revoked: 'revoked',
  errors: [
    [
      { status: 400, body: { error: 'invalid_grant', error_description: 'The refresh token is invalid or expired.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { errorCode: 'invalid_client', error: 'invalid_client' } }, 'client'],
    [{ status: 429, body: { errorCode: 'E0000047', errorSummary: 'API call exceeded rate limit' } }, 'rate_limited'],
  ],
}

export const auth0Recording: Recording = {
  ...scopes,
  name: 'Auth0',
  path: '/',
  preset: (issuer) => auth0({ issuer, audience: 'https://api.example.com' }),
  authorize: '/authorize',
  token: '/oauth/token',
  asked: scopes.asked.map((asked) => ({ ...asked, audience: 'https://api.example.com' })),
  discovery: {
    at: '/.well-known/openid-configuration',
    jwks: '/.well-known/jwks.json',
    document: (origin) =>
      document(
        `${origin}/`,
        {
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/oauth/token`,
          revocation_endpoint: `${origin}/oauth/revoke`,
          userinfo_endpoint: `${origin}/userinfo`,
          jwks_uri: `${origin}/.well-known/jwks.json`,
        },
        {
          scopes_supported: ['openid', 'email', 'offline_access'],
          code_challenge_methods_supported: ['S256', 'plain'],
        },
      ),
  },
  idToken: (origin) => ({ iss: `${origin}/`, sub: 'auth0|5f7c8ec7c33c6c004bbafe82', email: 'a@auth0.example' }),
  tokens: ({ accessToken, refreshToken, scopes: granted, idToken }) => ({
    access_token: accessToken,
    refresh_token: refreshToken,
    id_token: idToken,
    scope: granted.join(' '),
    expires_in: 86400,
    token_type: 'Bearer',
  }),
  // A refresh token that does not rotate is not repeated.
  refreshed: ({ accessToken, scopes: granted, idToken }) => ({
    access_token: accessToken,
    id_token: idToken,
    scope: granted.join(' '),
    expires_in: 86400,
    token_type: 'Bearer',
  }),
  user: 'auth0|5f7c8ec7c33c6c004bbafe82',
  email: 'a@auth0.example',
  others: { 'POST /oauth/revoke': ({ body }) => (body.client_secret ? { status: 200 } : { status: 401, body: {} }) },
  revoked: 'revoked',
  errors: [
    [
      { status: 403, body: { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'access_denied', error_description: 'Unauthorized' } }, 'client'],
    [{ status: 429, body: { error: 'too_many_requests', error_description: 'Global limit' } }, 'rate_limited'],
  ],
}

const keycloakTokens = ({ accessToken, refreshToken, scopes: granted, idToken }: Issued) => ({
  access_token: accessToken,
  expires_in: 300,
  refresh_expires_in: 0,
  refresh_token: refreshToken,
  token_type: 'Bearer',
  id_token: idToken,
  'not-before-policy': 0,
  session_state: '3e1b5f2d-7c1a-4d9c-9d8e-1b2c3d4e5f60',
  scope: granted.join(' '),
})

export const keycloakRecording: Recording = {
  ...scopes,
  name: 'Keycloak',
  path: '/realms/main',
  preset: (issuer) => keycloak({ issuer }),
  authorize: '/realms/main/protocol/openid-connect/auth',
  token: '/realms/main/protocol/openid-connect/token',
  discovery: {
    at: '/realms/main/.well-known/openid-configuration',
    jwks: '/realms/main/protocol/openid-connect/certs',
    document: (origin) =>
      document(
        `${origin}/realms/main`,
        {
          authorization_endpoint: `${origin}/realms/main/protocol/openid-connect/auth`,
          token_endpoint: `${origin}/realms/main/protocol/openid-connect/token`,
          revocation_endpoint: `${origin}/realms/main/protocol/openid-connect/revoke`,
          jwks_uri: `${origin}/realms/main/protocol/openid-connect/certs`,
        },
        {
          scopes_supported: ['openid', 'offline_access', 'email'],
          code_challenge_methods_supported: ['plain', 'S256'],
          authorization_response_iss_parameter_supported: true,
        },
      ),
  },
  back: (origin) => ({ session_state: '3e1b5f2d-7c1a-4d9c-9d8e-1b2c3d4e5f60', iss: `${origin}/realms/main` }),
  idToken: (origin) => ({
    iss: `${origin}/realms/main`,
    sub: 'f7826be8-e4d1-49e4-93b1-59d4a6c10b6a',
    azp: 'client-1',
    typ: 'ID',
    email: 'a@keycloak.example',
  }),
  tokens: keycloakTokens,
  refreshed: keycloakTokens,
  user: 'f7826be8-e4d1-49e4-93b1-59d4a6c10b6a',
  email: 'a@keycloak.example',
  others: { 'POST /realms/main/protocol/openid-connect/revoke': () => ({ status: 200 }) },
  revoked: 'revoked',
  errors: [
    [{ status: 400, body: { error: 'invalid_grant', error_description: 'Token is not active' } }, 'invalid_grant'],
    [
      { status: 401, body: { error: 'unauthorized_client', error_description: 'Invalid client credentials' } },
      'client',
    ],
  ],
}
