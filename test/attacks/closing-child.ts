/** An app, or a program, of its own process that is told to end in the middle of something. Started by `closing.test.ts`. */
import cookie from '@fastify/cookie'
import secureSession from '@fastify/secure-session'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { oauthAware, requireOAuth } from '../../src/index.js'
import { runDeviceFlow, runLocalServerFlow } from '../../src/installed/index.js'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'

export interface ClosingTask {
  readonly run: 'app' | 'device' | 'loopback'
  readonly plugin: 'session' | 'secure-session'
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Milliseconds for each call to the provider. */
  readonly timeout: number
}

export type Order = { readonly advance: number } | 'sweep' | 'close'

/** What is left when it is over. */
export interface Left {
  /** What keeps the process alive. */
  readonly resources: readonly string[]
  readonly refreshToken?: string | undefined
  /** What came of what had no answer to give: a sweep, or a program. */
  readonly outcome?: string
}

const task = JSON.parse(process.argv[3] as string) as ClosingTask
const { issuer, clientId, clientSecret, timeout } = task
const client = { provider: { issuer }, clientId, clientSecret, timeout }

/** Code of the error, or what came instead. */
const outcomeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(JSON.stringify, (error: { code?: string }) => error.code ?? String(error))

/** What keeps the process alive by itself, a second later at the latest: not the pipes to whoever started it. */
async function resources(): Promise<string[]> {
  for (let tries = 50; ; tries--) {
    const open = process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap')
    if (open.length === 0 || tries === 0) return open
    await new Promise((resolve) => setTimeout(resolve, 20).unref())
  }
}

async function app(): Promise<void> {
  let ahead = 0
  let swept: Promise<string> | undefined
  const server = Fastify()
  server.register(cookie)
  if (task.plugin === 'session') {
    const secret = 'session-secret-that-is-long-enough-for-everyone'
    server.register(session, { secret, rolling: false, cookie: { secure: 'auto' } })
  } else {
    server.register(secureSession, { key: Buffer.alloc(32, 'k'), cookie: { path: '/', secure: false } })
  }
  server.register(oauth2Client, { ...client, storage: memoryStore(), clock: () => Date.now() + ahead })
  server.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ has: oauth2.hasCredentials() }))
  server.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({ user: oauth2.userId }))
  server.get('/revoke', { onRequest: requireOAuth() }, ({ oauth2 }) => oauth2.revoke())
  await server.listen({ port: 0, host: '127.0.0.1' })
  process.on('message', async (order: Order) => {
    if (typeof order === 'object') ahead += order.advance
    // Everybody is due.
    if (order === 'sweep') swept = outcomeOf(server.oauth2.sweep({ keepAlive: 1 }))
    if (order !== 'close') return
    await server.close()
    const outcome = await swept
    const left = await resources()
    const { manager } = server.oauth2[kClient]
    const record = (await manager.vaultOf('sub-alice').read())?.record
    say({ resources: left, refreshToken: record?.accounts[0]?.tokens.refreshToken, ...(outcome && { outcome }) })
    process.disconnect()
  })
  process.send?.({ url: `http://localhost:${(server.server.address() as { port: number }).port}` })
}

async function program(): Promise<void> {
  const controller = new AbortController()
  process.on('message', () => controller.abort())
  const waiting = (url: string) => process.send?.({ url })
  const options = { ...client, signal: controller.signal }
  const outcome = await outcomeOf(
    task.run === 'device'
      ? runDeviceFlow({ ...options, onCode: () => {}, onPoll: () => waiting('') })
      : runLocalServerFlow({ ...options, openBrowser: false, onUrl: waiting }),
  )
  say({ resources: await resources(), outcome })
  process.disconnect()
}

function say(left: Left): void {
  process.stdout.write(JSON.stringify(left))
}

await (task.run === 'app' ? app() : program())
