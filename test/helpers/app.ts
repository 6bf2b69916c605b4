/** A guarded app next to a scripted provider, on real HTTP: what most integration tests start from. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { onTestFinished } from 'vitest'
import oauth2Client, {
  type CredentialStore,
  type OAuth2ClientOptions,
  oauthAware,
  requireOAuth,
} from '../../src/index.js'
import { Browser } from './browser.js'
import { type FakeClock, fakeClock } from './clock.js'
import { listen } from './listen.js'
import { captureLogs, type LogCapture } from './log-capture.js'
import { type ScriptedProvider, startScriptedProvider } from './scripted-provider.js'
import { type SessionVariant, sessionVariants } from './session-plugins.js'

export interface TestAppOptions {
  readonly variant?: SessionVariant
  readonly storage?: 'session' | CredentialStore
  /** Options of the plugin; given the provider's own. */
  readonly client?: Partial<OAuth2ClientOptions> | ((provider: ScriptedProvider) => Partial<OAuth2ClientOptions>)
  readonly provider?: ScriptedProvider
  readonly clock?: FakeClock
  readonly server?: FastifyServerOptions
  /** More routes, declared before the ones below. */
  readonly routes?: (app: FastifyInstance, provider: ScriptedProvider) => void
}

export interface TestApp {
  readonly app: FastifyInstance
  readonly url: string
  readonly provider: ScriptedProvider
  readonly browser: Browser
  readonly clock: FakeClock
  readonly logs: LogCapture
}

/**
 * Routes: `/` (aware), `/profile` (base scopes), `/files` (`files.read`), `/calendar` (`calendar.read`), `POST /notes`
 * (base scopes), `/api` (base scopes, calls the provider's API). Everything is closed when the test ends.
 */
export async function startApp(options: TestAppOptions = {}): Promise<TestApp> {
  const provider = options.provider ?? (await startScriptedProvider())
  if (!options.provider) onTestFinished(() => provider.close())
  const clock = options.clock ?? fakeClock()
  const logs = captureLogs()
  const app = Fastify({ logger: logs.logger, ...options.server })
  onTestFinished(() => app.close())
  const variant = options.variant ?? (sessionVariants[0] as SessionVariant)
  variant.register(app)
  app.register(oauth2Client, {
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    storage: options.storage ?? 'session',
    clock: clock.now,
    ...(typeof options.client === 'function' ? options.client(provider) : options.client),
  })
  options.routes?.(app, provider)
  app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
    user: oauth2.userId,
    has: oauth2.hasCredentials(),
  }))
  app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({
    user: oauth2.userId,
    email: oauth2.email,
    scopes: oauth2.scopes,
    claims: oauth2.claims,
  }))
  app.get('/files', { onRequest: requireOAuth('files.read') }, async ({ oauth2 }) => ({ scopes: oauth2.scopes }))
  app.get('/calendar', { onRequest: requireOAuth(['calendar.read']) }, async ({ oauth2 }) => ({
    scopes: oauth2.scopes,
  }))
  app.post('/notes', { onRequest: requireOAuth() }, async () => ({ saved: true }))
  app.get('/api', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
    const response = await oauth2.fetch(`${provider.issuer}/api/things`)
    return reply.code(response.status).send(await response.json())
  })
  return { app, url: await listen(app), provider, browser: new Browser(), clock, logs }
}
