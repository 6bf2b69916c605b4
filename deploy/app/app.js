/** Puts the app together, for the web and for the nightly sweep. */
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { oauthAware, requireOAuth } from 'fastify-oauth2client'
import { sqlStore } from 'fastify-oauth2client/storage/sql'
import { openDatabase, openRedis, redisSessions, secret } from './shared.js'

const { BASE_URL, TRUST_PROXY, ISSUER, CLIENT_ID, API_URL, API_SCOPE } = process.env
const TWO_WEEKS = 14 * 86_400_000

export async function buildApp() {
  const db = openDatabase()
  const redis = openRedis()

  const app = Fastify({
    trustProxy: TRUST_PROXY,
    // What comes in while the process stops is answered like everything else.
    return503OnClosing: false,
    // Paths without their queries: that of the callback holds a code.
    logger: { serializers: { req: ({ method, url }) => ({ method, path: url.split('?')[0] }) } },
  })
  app.addHook('onClose', async () => {
    await Promise.all([db.destroy(), redis.quit()])
  })

  // Whether this process works. That of a store is not asked for: all of them would be restarted when it is away.
  app.get('/health', { logLevel: 'warn' }, async () => ({ status: 'ok' }))

  app.register(cookie)
  app.register(session, {
    secret: secret('session-secret'),
    store: redisSessions(redis, TWO_WEEKS),
    rolling: false,
    saveUninitialized: false,
    cookie: { secure: 'auto', sameSite: 'lax', maxAge: TWO_WEEKS },
  })
  app.register(oauth2Client, {
    provider: { issuer: ISSUER },
    clientId: CLIENT_ID,
    clientSecret: secret('client-secret'),
    baseUrl: BASE_URL,
    storage: sqlStore({ db }),
    // One a line, the one that seals first.
    encryptionKeys: secret('encryption-keys').split(/\s+/),
    allowedOrigins: [new URL(API_URL).origin],
  })

  app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ user: oauth2.userId ?? null }))
  app.get('/files', { onRequest: requireOAuth(API_SCOPE) }, async ({ oauth2 }, reply) => {
    const response = await oauth2.fetch(API_URL)
    return response.ok ? response.json() : reply.code(502).send({ error: 'The API does not answer.' })
  })
  return app
}
