/** Puts the app together. Nothing listens yet, so that tests can do it their way. */
import { join } from 'node:path'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import oauth2Client from 'fastify-oauth2client'
import { sqlStore } from 'fastify-oauth2client/storage/sql'
import { openDatabase } from './database.js'
import { answerPeople, handleErrors } from './errors.js'
import { formTokens, parseForms } from './forms.js'
import { calendarRoutes } from './pages/calendar.js'
import { connectionRoutes } from './pages/connections.js'
import { fileRoutes } from './pages/files.js'
import { homeRoutes } from './pages/home.js'
import { jobRoutes } from './pages/jobs.js'
import { profileRoutes } from './pages/profile.js'
import { styleRoutes } from './pages/style.js'
import { whyRoutes } from './pages/why.js'
import { secretFile } from './secrets.js'
import { BASE_SCOPES, type Service } from './services.js'
import { sessionStore } from './sessions.js'

export interface AppOptions {
  readonly service: Service
  /** A directory for the database and the secrets. */
  readonly dataDir: string
  /** The origin that browsers see. Required in production. */
  readonly baseUrl?: string
  readonly logger?: FastifyServerOptions['logger']
}

export async function buildApp({ service, dataDir, baseUrl, logger = false }: AppOptions): Promise<FastifyInstance> {
  const db = await openDatabase(dataDir)
  const secret = (name: string) => secretFile(join(dataDir, name))

  // Behind a proxy that ends TLS, also set trustProxy.
  const app = Fastify({ logger })
  // Hooks for closing run in reverse order: the database goes last.
  app.addHook('onClose', () => db.destroy())
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(securityHeaders(service))
  })
  parseForms(app)
  handleErrors(app)

  app.register(cookie)
  app.register(session, {
    secret: await secret('session-secret'),
    store: sessionStore(db),
    rolling: false,
    saveUninitialized: false,
    cookie: { secure: 'auto', sameSite: 'lax' },
  })
  app.register(oauth2Client, {
    ...service.client,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    scopes: BASE_SCOPES,
    storage: sqlStore({ db }),
    encryptionKeys: await secret('encryption-key'),
    onError: answerPeople(service),
  })

  const tokens = formTokens(await secret('form-key'))
  styleRoutes(app)
  homeRoutes(app, { service })
  profileRoutes(app, { service, db, tokens })
  fileRoutes(app, { service })
  calendarRoutes(app, { service })
  whyRoutes(app, { service })
  connectionRoutes(app, { service, tokens })
  jobRoutes(app, { service, tokens })
  return app
}

function securityHeaders({ origin }: Service): Record<string, string> {
  return {
    'content-security-policy': [
      "default-src 'none'",
      "style-src 'self'",
      'img-src data:',
      // Where a form leads in the end counts too, and a guarded page may send people to sign in again.
      `form-action 'self' ${origin}`,
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
    'referrer-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
  }
}
