/** An app with users of its own, named by a header, that wants an access token of a strict provider for each request. */
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify, { type FastifyInstance } from 'fastify'
import oauth2Client, {
  type CredentialStore,
  Credentials,
  type OAuth2ClientOptions,
  requireOAuth,
} from '../../src/index.js'
import type { Family, StrictProvider } from './strict-provider.js'

export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, unknown>>
}

export interface UserApp {
  readonly app: FastifyInstance
  /** The answer is the access token, for those who may pass. */
  request(user: string, headers?: Record<string, string>): Promise<Answer>
  /** Stores what an authorization brought some time ago: the access token has expired. */
  adopt(family: Pick<Family, 'user' | 'accessToken' | 'refreshToken'>): Promise<void>
}

export async function startUserApp(
  provider: StrictProvider['options'],
  store: CredentialStore,
  options: Partial<OAuth2ClientOptions> = {},
): Promise<UserApp> {
  const app = Fastify()
  app.register(cookie)
  app.register(session, { secret: 'session-secret-that-is-long-enough-for-everyone', cookie: { secure: false } })
  app.register(oauth2Client, {
    ...provider,
    scopes: [],
    storage: store,
    encryptionKeys: 'encryption-key-of-all-processes-of-this-test',
    userKey: ({ headers }) => headers['x-user'] as string | undefined,
    ...options,
  })
  app.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => (await oauth2.getAccessToken()).token)
  await app.ready()
  return {
    app,
    async request(user, headers = {}) {
      const response = await app.inject({ url: '/token', headers: { host: 'localhost', 'x-user': user, ...headers } })
      return { status: response.statusCode, body: response.body, headers: response.headers }
    },
    async adopt({ user, accessToken, refreshToken }) {
      const stored = await app.oauth2.user(user)
      await stored.adopt(new Credentials({ accessToken, refreshToken, expiresAt: Date.now() - 60_000, userId: user }))
    },
  }
}
