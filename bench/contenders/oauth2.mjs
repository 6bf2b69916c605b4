// `@fastify/oauth2`, which ends at the tokens: keeping them in the session, looking for them there and refreshing them
// is written by hand.
import oauth2 from '@fastify/oauth2'
import { CLIENT, fastifyApp, listen, SCOPES } from '../lib/serving.mjs'

/**
 * @param options.sessions which plugin
 * @param options.fresh whether the guard sees to it that the access token has not expired
 */
export async function start({ provider, sessions, fresh = false }) {
  const server = await fastifyApp(sessions)
  const { app, origin } = server
  await app.register(oauth2, {
    name: 'provider',
    scope: SCOPES,
    credentials: { client: CLIENT },
    startRedirectPath: '/login',
    callbackUri: `${origin}/callback`,
    discovery: { issuer: provider },
  })
  app.get('/callback', async (request, reply) => {
    const { token } = await app.provider.getAccessTokenFromAuthorizationCodeFlow(request, reply)
    request.session.set('token', token)
    return reply.redirect('/guarded')
  })
  async function signedIn(request, reply) {
    if (!request.session.get('token')) return reply.code(401).send({})
  }
  async function unexpired(request) {
    const old = request.session.get('token')
    if (Date.parse(old.expires_at) > Date.now()) return
    const { token } = await app.provider.getNewAccessTokenUsingRefreshToken(old, {})
    request.session.set('token', token)
  }
  app.get('/guarded', { onRequest: fresh ? [signedIn, unexpired] : signedIn }, async () => ({ user: 'somebody' }))
  app.get('/token', { onRequest: [signedIn, unexpired] }, async (request) => request.session.get('token').access_token)
  return listen(server)
}
