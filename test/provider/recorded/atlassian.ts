import { atlassian } from '../../../src/provider/presets/index.js'
import type { Issued, Recording } from '../../helpers/recorded-provider.js'

const tokens = ({ accessToken, refreshToken, scopes }: Issued) => ({
  access_token: accessToken,
  expires_in: 3600,
  token_type: 'Bearer',
  refresh_token: refreshToken,
  scope: scopes.join(' '),
})

export const recording: Recording = {
  name: 'Atlassian',
  preset: (issuer) => atlassian({ issuer }),
  authorize: '/authorize',
  token: '/oauth/token',
  scopes: ['read:jira-work'],
  more: 'write:jira-work',
  asked: [
    { scope: 'read:jira-work read:me offline_access', audience: 'api.atlassian.com', prompt: 'consent' },
    { scope: 'read:jira-work read:me offline_access write:jira-work', audience: 'api.atlassian.com' },
  ],
  granted: [
    ['read:jira-work', 'read:me'],
    ['write:jira-work', 'read:jira-work', 'read:me'],
  ],
  seen: [
    ['read:jira-work', 'read:me', 'offline_access'],
    ['write:jira-work', 'read:jira-work', 'read:me', 'offline_access'],
  ],
  tokens,
  refreshed: tokens,
  user: '112233aa-bb11-cc22-33dd-445566abcabc',
  email: 'mia@atlassian.example',
  claims: { name: 'Mia Krystof' },
  others: {
    'GET /me': ({ bearer }, { live }) =>
      live.has(bearer ?? '')
        ? {
            body: {
              account_type: 'atlassian',
              account_id: '112233aa-bb11-cc22-33dd-445566abcabc',
              email: 'mia@atlassian.example',
              name: 'Mia Krystof',
              account_status: 'active',
            },
          }
        : { status: 401, body: { code: 401, message: 'Unauthorized' } },
  },
  revoked: 'unsupported',
  errors: [
    [
      { status: 403, body: { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'access_denied', error_description: 'Unauthorized' } }, 'client'],
  ],
}
