// `express-openid-connect` on Express 5: tokens in a sealed cookie, or where a store is given in that.
import express from 'express'
import oidc from 'express-openid-connect'
import { CLIENT, freePort, SCOPES, SECRET } from '../lib/serving.mjs'

/** The least that a session store can be. */
function memory() {
  const sessions = new Map()
  const later = (done, value) => setImmediate(done, null, value)
  return {
    get: (id, done) => later(done, sessions.get(id)),
    set: (id, session, done) => later(done, sessions.set(id, session)),
    destroy: (id, done) => later(done, sessions.delete(id)),
  }
}

/** @param options.stored whether sessions are in memory and not in a cookie */
export async function start({ provider, stored = false }) {
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const app = express()
  app.use(
    oidc.auth({
      issuerBaseURL: provider,
      baseURL: origin,
      clientID: CLIENT.id,
      clientSecret: CLIENT.secret,
      secret: SECRET,
      authRequired: false,
      authorizationParams: { response_type: 'code', scope: SCOPES.join(' ') },
      ...(stored ? { session: { store: memory() } } : {}),
    }),
  )
  app.get('/guarded', oidc.requiresAuth(), (request, response) => response.json({ user: request.oidc.user.sub }))
  app.get('/token', oidc.requiresAuth(), async (request, response) => {
    let token = request.oidc.accessToken
    if (token.isExpired()) token = await token.refresh()
    response.send(token.access_token)
  })
  // Express knows an error handler by its four parameters; its own prints each error.
  app.use((error, _request, response, _next) => response.status(error.status ?? 500).json({}))
  await new Promise((resolve) => app.listen(port, '127.0.0.1', resolve))
  return { url: origin, login: '/guarded', guarded: '/guarded' }
}
