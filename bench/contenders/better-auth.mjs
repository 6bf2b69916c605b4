// `better-auth` on Fastify: users, accounts and sessions are in a database of its own, and each request asks it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders } from 'better-auth/node'
import { genericOAuth } from 'better-auth/plugins'
import { openSqlite } from '../../dist/storage/sqlite.js'
import { CLIENT, fastifyApp, listen, SCOPES, SECRET } from '../lib/serving.mjs'

const databases = {
  memory: async () => memoryAdapter({ user: [], session: [], account: [], verification: [] }),

  async sqlite() {
    const folder = mkdtempSync(join(tmpdir(), 'bench-'))
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    return { db: await openSqlite({ path: join(folder, 'auth.sqlite') }), type: 'sqlite', transaction: true }
  },
}

/** @param options.database which one */
export async function start({ provider, database = 'memory' }) {
  const server = await fastifyApp('none')
  const { app, origin } = server
  const options = {
    baseURL: origin,
    secret: SECRET,
    database: await databases[database](),
    // Everybody here has one address.
    rateLimit: { enabled: false },
    logger: { disabled: true },
    telemetry: { enabled: false },
    plugins: [
      genericOAuth({
        config: [
          {
            providerId: 'bench',
            clientId: CLIENT.id,
            clientSecret: CLIENT.secret,
            discoveryUrl: `${provider}/.well-known/openid-configuration`,
            scopes: SCOPES,
          },
        ],
      }),
    ],
  }
  if (database !== 'memory') await (await getMigrations(options)).runMigrations()
  const auth = betterAuth(options)

  async function handle(request, reply) {
    const { method, url, headers } = request
    return reply.send(
      await auth.handler(new Request(new URL(url, origin), { method, headers: fromNodeHeaders(headers) })),
    )
  }
  app.get('/api/auth/*', handle)
  app.get('/login', async (request, reply) => {
    const answer = await auth.api.signInSocial({
      body: { provider: 'bench', callbackURL: '/guarded' },
      headers: fromNodeHeaders(request.headers),
      asResponse: true,
    })
    for (const line of answer.headers.getSetCookie()) reply.header('set-cookie', line)
    return reply.redirect((await answer.json()).url)
  })
  const signedIn = async (request, reply) => {
    const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) })
    if (!found) return reply.code(401).send({})
    request.user = found.user
  }
  app.decorateRequest('user', null)
  app.get('/guarded', { onRequest: signedIn }, async (request) => ({ user: request.user.id }))
  // Both calls refuse whoever is not signed in.
  app.get('/token', async (request) => {
    const headers = fromNodeHeaders(request.headers)
    const [{ id }] = await auth.api.listUserAccounts({ headers })
    const { accessToken } = await auth.api.getAccessToken({ body: { accountId: id }, headers })
    return accessToken
  })
  return listen(server)
}
