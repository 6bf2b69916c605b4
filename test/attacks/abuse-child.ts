/** An app of its own process, whose memory can be looked at. Started by `abuse.test.ts`, which sends it commands. */
import cookie from '@fastify/cookie'
import secureSession from '@fastify/secure-session'
import session from '@fastify/session'
import Fastify, { type Session } from 'fastify'
import oauth2Client, { oauthAware, requireOAuth } from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'

/** What the app is made of. */
export interface AbuseTask {
  readonly plugin: 'session' | 'secure-session'
  readonly storage: 'session' | 'store'
  readonly issuer: string
}

/** What is left of all that was done to it. */
export interface Sample {
  /** Bytes that are in use once everything that can go is gone. */
  readonly heap: number
  /** Live keys of the credential store, by what they begin with. */
  readonly rows: Record<string, number>
  readonly resources: number
}

export type Command = { readonly advance: number } | 'sample' | 'close'

const { plugin, storage, issuer } = JSON.parse(process.argv[3] as string) as AbuseTask

/** The sessions are the app's, and so is their number: this one forgets all but the newest. */
class FewSessions {
  readonly #records = new Map<string, string>()

  get(id: string, done: (error: unknown, session?: Session | null) => void): void {
    const record = this.#records.get(id)
    done(null, record === undefined ? null : JSON.parse(record))
  }

  set(id: string, value: Session, done: (error?: unknown) => void): void {
    this.#records.delete(id)
    if (this.#records.size >= 200) this.#records.delete(this.#records.keys().next().value as string)
    this.#records.set(id, JSON.stringify(value))
    done()
  }

  destroy(id: string, done: (error?: unknown) => void): void {
    this.#records.delete(id)
    done()
  }
}

let ahead = 0
const clock = () => Date.now() + ahead
const map = new Map<string, MemoryEntry>()

const app = Fastify()
app.register(cookie)
if (plugin === 'session') {
  const secret = 'session-secret-that-is-long-enough-for-everyone'
  app.register(session, {
    secret,
    rolling: false,
    saveUninitialized: false,
    store: new FewSessions(),
    cookie: { secure: 'auto' },
  })
} else {
  app.register(secureSession, { key: Buffer.alloc(32, 'k'), cookie: { path: '/', secure: false, httpOnly: true } })
}
app.register(oauth2Client, {
  provider: {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    id_token_signing_alg_values_supported: ['ES256'],
  },
  clientId: 'client',
  clientSecret: 'a-secret-that-is-long-enough-to-make-keys-of',
  // As if others could read it: then callbacks leave markers there.
  storage: storage === 'session' ? 'session' : { ...memoryStore({ map, clock }), shared: true },
  encryptionKeys: ['k'.repeat(40)],
  clock,
})
app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ user: oauth2.userId, xsrf: oauth2.xsrfToken }))
app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({ user: oauth2.userId }))
await app.listen({ port: 0, host: '127.0.0.1' })

async function sample(): Promise<Sample> {
  for (let i = 0; i < 6; i++) {
    await new Promise((resolve) => setImmediate(resolve))
    globalThis.gc?.()
  }
  const rows: Record<string, number> = {}
  for (const [key, { value }] of map) {
    const kind = key.split('/')[0] as string
    if (value !== undefined) rows[kind] = (rows[kind] ?? 0) + 1
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return { heap: heapUsed + arrayBuffers, rows, resources: process.getActiveResourcesInfo().length }
}

process.on('message', async (command: Command) => {
  if (typeof command === 'object') ahead += command.advance
  if (command === 'sample') process.send?.(await sample())
  if (command === 'close') {
    await app.close()
    process.disconnect()
  }
})
process.send?.({ url: `http://127.0.0.1:${(app.server.address() as { port: number }).port}` })
