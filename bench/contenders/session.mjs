// The floor of any guard that knows people by their session: one value is read from it.
import { fastifyApp, listen } from '../lib/serving.mjs'

/** @param options.sessions which plugin */
export async function start({ sessions }) {
  const server = await fastifyApp(sessions)
  server.app.get('/login', async (request) => {
    request.session.set('user', 'user-1')
    return 'signed in'
  })
  server.app.get('/guarded', async (request, reply) => {
    const user = request.session.get('user')
    return user === undefined ? reply.code(401).send({}) : { user }
  })
  return listen(server)
}
