import { microsoft } from '../../../src/provider/presets/index.js'
import { document, type Issued, type Recording } from '../../helpers/recorded-provider.js'

export const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47'
export const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad'

const tokens = ({ accessToken, refreshToken, scopes, idToken }: Issued) => ({
  token_type: 'Bearer',
  scope: scopes.join(' '),
  expires_in: 4963,
  ext_expires_in: 4963,
  access_token: accessToken,
  refresh_token: refreshToken,
  id_token: idToken,
})

/** For one `tenant`, whose metadata names `issuer` under the origin. */
export function entra(tenant: string, issuer: string, tid = TENANT): Recording {
  return {
    name: `Microsoft, ${tenant}`,
    path: `/${tenant}/v2.0`,
    preset: (configured) => microsoft({ tenant, issuer: configured }),
    authorize: `/${tenant}/oauth2/v2.0/authorize`,
    token: `/${tenant}/oauth2/v2.0/token`,
    discovery: {
      at: `/${tenant}/v2.0/.well-known/openid-configuration`,
      jwks: `/${tenant}/discovery/v2.0/keys`,
      document: (origin) =>
        document(
          `${origin}/${issuer}/v2.0`,
          {
            authorization_endpoint: `${origin}/${tenant}/oauth2/v2.0/authorize`,
            token_endpoint: `${origin}/${tenant}/oauth2/v2.0/token`,
            userinfo_endpoint: `${origin}/oidc/userinfo`,
            jwks_uri: `${origin}/${tenant}/discovery/v2.0/keys`,
          },
          { scopes_supported: ['openid', 'profile', 'email', 'offline_access'], tenant_region_scope: null },
        ),
    },
    more: 'mail.read',
    asked: [
      { scope: 'openid email offline_access', prompt: null },
      { scope: 'openid email offline_access mail.read profile https://graph.microsoft.com/User.Read' },
    ],
    granted: [
      ['openid', 'profile', 'email', 'https://graph.microsoft.com/User.Read'],
      ['https://graph.microsoft.com/Mail.ReadWrite', 'https://graph.microsoft.com/User.Read'],
    ],
    seen: [
      ['openid', 'profile', 'email', 'https://graph.microsoft.com/User.Read', 'offline_access'],
      [
        'https://graph.microsoft.com/Mail.ReadWrite',
        'https://graph.microsoft.com/User.Read',
        'openid',
        'email',
        'offline_access',
        'profile',
      ],
    ],
    back: () => ({ session_state: '7dc3a5b4-9b23-44c7-a8f6-fdb4c5a7f0d1' }),
    idToken: (origin) => ({
      iss: `${origin}/${tid}/v2.0`,
      tid,
      sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
      oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
      ver: '2.0',
      email: 'megan@contoso.example',
    }),
    tokens,
    refreshed: tokens,
    user: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
    email: 'megan@contoso.example',
    claims: { tid },
    revoked: 'unsupported',
    errors: [
      [
        {
          status: 400,
          body: {
            error: 'invalid_grant',
            error_description: 'AADSTS700082: The refresh token has expired',
            error_codes: [700082],
          },
        },
        'invalid_grant',
      ],
      [
        {
          status: 400,
          body: { error: 'interaction_required', error_description: 'AADSTS50076', suberror: 'basic_action' },
        },
        'invalid_grant',
      ],
      [{ status: 401, body: { error: 'invalid_client', error_description: 'AADSTS7000215' } }, 'client'],
      [{ status: 503, body: { error: 'temporarily_unavailable' } }, 'in_doubt'],
    ],
  }
}

export const recordings = [
  entra('common', '{tenantid}'),
  entra('contoso.example', TENANT),
  entra('consumers', PERSONAL, PERSONAL),
]
