import { notion } from '../../../src/provider/presets/index.js'
import type { Issued, Recording } from '../../helpers/recorded-provider.js'

const person = {
  object: 'user',
  id: 'e79a0b74-3aba-4149-9f74-0bb5791a6ee6',
  name: 'Ada',
  avatar_url: null,
  type: 'person',
  person: { email: 'ada@notion.example' },
}

const tokens = ({ accessToken }: Issued, refreshToken: string | null) => ({
  access_token: accessToken,
  token_type: 'bearer',
  refresh_token: refreshToken,
  bot_id: 'b3414d65-0c09-4b5e-b7d1-7a4a1f8c4d11',
  workspace_icon: null,
  workspace_name: 'The Workspace',
  workspace_id: 'a5b9f1ac-6f63-4a0e-8a2f-1c2d3e4f5a6b',
  owner: { type: 'user', user: person },
  duplicated_template_id: null,
  request_id: '3c90c3cc-0d44-4b50-8888-8dd25736052a',
})

const shared = {
  preset: (issuer) => notion({ issuer }),
  authorize: '/v1/oauth/authorize',
  token: '/v1/oauth/token',
  authentication: 'basic',
  body: 'json',
  asked: [{ owner: 'user', scope: null, response_type: 'code' }],
  granted: [[]],
  user: person.id,
  email: 'ada@notion.example',
  claims: {
    bot_id: 'b3414d65-0c09-4b5e-b7d1-7a4a1f8c4d11',
    workspace_id: 'a5b9f1ac-6f63-4a0e-8a2f-1c2d3e4f5a6b',
    name: 'Ada',
  },
  others: {
    'GET /v1/users/me': ({ bearer, headers }, { live }) =>
      live.has(bearer ?? '') && headers['notion-version']
        ? {
            body: {
              object: 'user',
              id: 'b3414d65-0c09-4b5e-b7d1-7a4a1f8c4d11',
              name: 'An App',
              type: 'bot',
              bot: { owner: { type: 'user', user: person }, workspace_name: 'The Workspace' },
            },
          }
        : { status: 401, body: { object: 'error', status: 401, code: 'unauthorized' } },
    'POST /v1/oauth/revoke': ({ body, headers }, { live }) =>
      live.delete(String(body.token)) && String(headers.authorization).startsWith('Basic ')
        ? { body: { request_id: '3c90c3cc-0d44-4b50-8888-8dd25736052a' } }
        : { status: 400, body: { error: 'invalid_request' } },
  },
  revoked: 'revoked',
  errors: [
    [
      { status: 400, body: { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' } },
      'invalid_grant',
    ],
    [{ status: 401, body: { error: 'invalid_client', request_id: '3c90c3cc' } }, 'client'],
    [{ status: 429, body: { object: 'error', status: 429, code: 'rate_limited' } }, 'rate_limited'],
  ],
} satisfies Partial<Recording>

export const notionLasting: Recording = { ...shared, name: 'Notion', tokens: (issued) => tokens(issued, null) }

export const notionRotating: Recording = {
  ...shared,
  name: 'Notion with refresh tokens',
  tokens: (issued) => tokens(issued, issued.refreshToken),
  refreshed: (issued) => tokens(issued, issued.refreshToken),
}
