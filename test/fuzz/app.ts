/** A guarded app whose answers are looked at for what must never be in them. */
import { Agent } from 'node:http'
import Fastify from 'fastify'
import { expect, onTestFinished } from 'vitest'
import oauth2Client, {
  type CredentialStore,
  type OAuth2ClientOptions,
  oauthAware,
  requireOAuth,
} from '../../src/index.js'
import { captureLogs } from '../helpers/log-capture.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'
import { type RawAnswer, RawBrowser } from './client.js'
import { CANARY, type InProcessProvider, ISSUER, inProcessProvider } from './in-process-provider.js'

export interface FuzzedApp {
  readonly provider: InProcessProvider
  browser(): RawBrowser
  /** A browser that is on its way to the provider, and the state that it would come back with. */
  begun(path?: string): Promise<{ browser: RawBrowser; state: string }>
  signedIn(): Promise<RawBrowser>
  /** @throws when the answer is a crash, leads away, or says what nobody may know */
  harmless(answer: RawAnswer): void
}

export interface FuzzedAppOptions {
  readonly variant?: SessionVariant
  readonly storage?: CredentialStore
  readonly encryptionKeys?: readonly Uint8Array[]
  readonly discovery?: boolean
  readonly clock?: () => number
  /** Over the others. */
  readonly client?: Partial<OAuth2ClientOptions>
}

const EXPECTED = [200, 302, 303, 400, 401, 403, 404, 405, 410, 413, 415, 431, 500, 502, 503]

export async function fuzzedApp(options: FuzzedAppOptions = {}): Promise<FuzzedApp> {
  const {
    variant = sessionVariants[0] as SessionVariant,
    storage,
    encryptionKeys,
    discovery = false,
    clock,
    client,
  } = options
  const provider = await inProcessProvider({ discovery })
  const logs = captureLogs('info')
  const app = Fastify({ logger: logs.logger })
  const sessions = new SlowSessionStore(0)
  variant.register(app, { store: sessions, saveUninitialized: false })
  app.register(oauth2Client, {
    ...provider.options,
    ...(storage ? { storage } : {}),
    ...(encryptionKeys ? { encryptionKeys } : {}),
    ...(clock ? { clock } : {}),
    ...client,
  })
  app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ has: oauth2.hasCredentials() }))
  app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({ user: oauth2.userId }))
  app.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
    const { scopes } = await oauth2.getAccessToken()
    return { scopes }
  })
  const form = 'application/x-www-form-urlencoded'
  app.addContentTypeParser(form, { parseAs: 'string' }, (_request, body, done) => done(null, String(body)))
  app.post('/notes', { preHandler: requireOAuth([], { resume: true }) }, async () => ({ saved: true }))
  await app.listen({ host: '127.0.0.1', port: 0 })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(async () => {
    agent.destroy()
    await app.close()
  })
  const { port } = app.server.address() as { port: number }
  const origin = `http://localhost:${port}`
  const browser = () => new RawBrowser(port, agent)

  async function begun(path = '/oauth2authorize?return_url=/profile') {
    const on = browser()
    const answer = await on.get(path)
    expect(answer.status, answer.body).toBe(302)
    const asked = new URL(answer.headers.location as string).searchParams
    provider.nonce = asked.get('nonce') ?? ''
    return { browser: on, state: asked.get('state') as string }
  }

  return {
    provider,
    browser,
    begun,
    async signedIn() {
      const { browser: on, state } = await begun()
      const answer = await on.get(`/oauth2callback?code=c&state=${state}`)
      expect(answer.status, answer.body).toBe(303)
      return on
    },
    harmless(answer) {
      expect(EXPECTED, answer.body).toContain(answer.status)
      // Our own configuration is at fault then, and says so; everything else would be a crash.
      if (answer.status === 500) expect(answer.body).toMatch(/FST_OAUTH2_(OPTION_INVALID|CLIENT_REJECTED)/)
      const { location } = answer.headers
      if (location !== undefined && !location.startsWith(`${ISSUER}/authorize?`)) {
        expect(new URL(location, origin).origin).toBe(origin)
        expect(location).toMatch(/^\/(?![/\\])/)
      }
      expect(JSON.stringify([answer.body, answer.headers])).not.toContain(CANARY)
      expect(logs.text()).not.toContain(CANARY)
      logs.lines.length = 0
      // Nobody comes back to most of them.
      for (const id of [...sessions.records.keys()].slice(0, -50)) sessions.records.delete(id)
    },
  }
}
