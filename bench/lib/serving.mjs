/** What all contenders do alike, so that only what they are compared for differs. */
import { createServer } from 'node:net'
import Fastify from 'fastify'

export const SECRET = 'a secret of at least thirty-two characters'
export const CLIENT = { id: 'bench', secret: 'a client secret that the provider does not look at' }
export const SCOPES = ['openid', 'email']
const KEY = Buffer.alloc(32, 7)

/** A port that is free: whoever is sent back to an app has to know its address before it listens. */
export async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function inMemory(app, options) {
  await app.register(import('@fastify/cookie'))
  const cookie = { secure: false }
  await app.register(import('@fastify/session'), { secret: SECRET, cookie, saveUninitialized: false, ...options })
}

/**
 * Sessions as the plugins' own pages set them up, but for the cookie: there is no TLS here. Nothing is imported that an app of
 * that kind would not import, since starting is measured too.
 */
export const sessions = {
  none() {},
  /** In memory, saved again with every response: the plugin's defaults. */
  session: (app) => inMemory(app),
  /** The same, saved where it changed. */
  still: (app) => inMemory(app, { rolling: false }),
  async secure(app) {
    await app.register(import('@fastify/cookie'))
    const cookie = { path: '/', secure: false, httpOnly: true }
    await app.register(import('@fastify/secure-session'), { key: KEY, cookie })
  },
}

/** @returns an app with sessions, and the origin that it will have */
export async function fastifyApp(kind) {
  const port = await freePort()
  const app = Fastify()
  await sessions[kind](app)
  return { app, origin: `http://127.0.0.1:${port}`, port }
}

/** @returns what a contender's `start` returns */
export async function listen({ app, port, origin }, { login = '/login', guarded = '/guarded', commands } = {}) {
  await app.listen({ host: '127.0.0.1', port })
  return { url: origin, login, guarded, ...(commands ? { commands } : {}) }
}
