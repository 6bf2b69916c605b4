// This project's guard.
import oauth2Client, { requireOAuth } from '../../dist/index.js'
import { credentialStores, freshName, removeAll } from '../lib/credential-stores.mjs'
import { CLIENT, fastifyApp, listen, SECRET } from '../lib/serving.mjs'
import { median } from '../lib/statistics.mjs'

/**
 * @param options.sessions which plugin
 * @param options.store `'session'`, or which store; with `name` one that several processes share
 * @param options.cached whether what was read a moment ago will do
 * @param options.byHeader whether a header says who somebody is, so that nobody has to sign in
 */
export async function start({ provider, sessions, store = 'session', cached = true, byHeader = false, name, client }) {
  const server = await fastifyApp(sessions)
  const own = name ?? freshName()
  const storage = store === 'session' ? store : await credentialStores[store](own)
  await server.app.register(oauth2Client, {
    provider: { issuer: provider },
    clientId: CLIENT.id,
    clientSecret: CLIENT.secret,
    baseUrl: server.origin,
    encryptionKeys: [SECRET],
    storage,
    ...(cached ? {} : { cacheMaxAge: 0 }),
    ...(byHeader ? { userKey: (request) => request.headers['x-user'] } : {}),
    ...client,
  })
  server.app.get('/refresh', { onRequest: requireOAuth() }, async (request) => {
    const { token } = await request.oauth2.getAccessToken()
    return request.oauth2.getAccessToken({ rejected: token })
  })
  server.app.get('/guarded', { onRequest: requireOAuth() }, async (request) => ({ user: request.oauth2.user }))
  server.app.get('/token', { onRequest: requireOAuth() }, async (request) => request.oauth2.getAccessToken())
  /** Milliseconds until the store answers. */
  async function trip() {
    if (storage === 'session') return 0
    const times = []
    for (let left = 20; left > 0; left--) {
      const began = performance.now()
      await storage.get('nobody')
      times.push(performance.now() - began)
    }
    return median(times)
  }
  return listen(server, { login: '/guarded', commands: { trip, end: () => name ?? removeAll(own) } })
}
