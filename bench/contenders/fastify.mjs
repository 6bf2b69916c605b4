// Nothing but Fastify: what a request costs at all.
import { fastifyApp, listen } from '../lib/serving.mjs'

export async function start() {
  const server = await fastifyApp('none')
  server.app.get('/login', async () => 'nobody signs in here')
  server.app.get('/guarded', async () => ({ user: 'user-1' }))
  return listen(server)
}
