/** `src/settings`, `src/local`, `src/store`: what the environment says, and what stands in for it. */
import { type Choices, imported, onlyIn, quoted, type StoreName } from './choices.js'

export function settingsFile(choices: Choices): string {
  const { provider, store } = choices
  const { preset, issuer, page } = provider
  const options = issuer === undefined ? '' : `{ issuer: ${quoted(issuer)} }`
  return `/** What the environment says. Without CLIENT_ID, a server on this machine takes the place of ${provider.label}. */
${onlyIn(choices, `${imported('type { CredentialStore, OAuth2ClientOptions }', 'fastify-oauth2client')}\n`)}${preset === undefined ? '' : `${imported(`{ ${preset} }`, 'fastify-oauth2client/providers')}\n`}${imported('{ localSettings }', './local.js')}
${store === 'session' ? '' : `${imported('{ openStore }', './store.js')}\n`}${onlyIn(
  choices,
  `
export interface Settings {
  port: number
  host: string
  baseUrl: string
  /** Who the app is, and at which provider. */
  client: Pick<OAuth2ClientOptions, 'provider' | 'clientId' | 'clientSecret'>
  /** The origin of the API. */
  api: string
  sessionSecret: string
  encryptionKey: string
  /** Where credentials are kept. */
  storage: 'session' | CredentialStore
  logLevel: string
  /** For whoever starts it. */
  hint: string
  close(): Promise<unknown>
}

type Environment = Readonly<Record<string, string | undefined>>
`,
)}
export async function readSettings(env${onlyIn(choices, ': Environment')})${onlyIn(choices, ': Promise<Settings>')} {
  const port = Number(env.PORT ?? 3000)
  if (!Number.isInteger(port) || port < 0 || port > 65534) throw new Error('PORT is a number from 0 to 65534.')
  if (!env.CLIENT_ID && env.NODE_ENV !== 'production') return localSettings(port)
  return {
    port,
    host: env.HOST ?? 'localhost',
    baseUrl: env.NODE_ENV === 'production' ? need(env, 'BASE_URL') : (env.BASE_URL ?? \`http://localhost:\${port}\`),
    client: {
      provider: ${preset === undefined ? options : `${preset}(${options})`},
      clientId: need(env, 'CLIENT_ID'),
      clientSecret: need(env, 'CLIENT_SECRET'),
    },
    api: ${quoted(page?.api ?? '')},
    sessionSecret: need(env, 'SESSION_SECRET'),
    encryptionKey: need(env, 'OAUTH2_KEY'),
    ${store === 'session' ? "storage: 'session',\n    close: async () => {}," : `...(await openStore(${store === 'sqlite' ? "env.DATABASE ?? 'app.sqlite'" : `need(env, '${URLS[store]}')`})),`}
    logLevel: env.LOG_LEVEL ?? 'info',
    hint: '',
  }
}

function need(env${onlyIn(choices, ': Environment')}, name${onlyIn(choices, ': string')}) {
  const value = env[name]
  if (!value) throw new Error(\`Set \${name} in the environment or in .env: see .env.example\`)
  return value
}
`
}

/** The variables that say where stores are. */
export const URLS: Readonly<Record<Exclude<StoreName, 'session' | 'sqlite'>, string>> = {
  postgres: 'DATABASE_URL',
  redis: 'REDIS_URL',
}

export function localFile(choices: Choices): string {
  const { name, provider, store } = choices
  const { page } = provider
  const memory = store === 'session' ? '' : `${imported('{ memoryStore }', 'fastify-oauth2client/storage/memory')}\n`
  return `/**
 * A real authorization server in this process, in the place of ${provider.label}, so that the app can be tried and tested without
 * an account. Nothing is kept when it ends.
 */
${imported('{ randomBytes }', 'node:crypto')}
${memory}${onlyIn(choices, `${imported('type { Settings }', './settings.js')}\n`)}
const random = () => randomBytes(32).toString('base64url')

/** @param port of the app; the server takes the next one. 0 for any */
export async function localSettings(port${onlyIn(choices, ': number')})${onlyIn(choices, ': Promise<Settings>')} {
  // Only here: what is imported for development is not there in production.
  const { startAuthorizationServer } = await import('fastify-oauth2client/testing')
  const server = await startAuthorizationServer({
    port: port === 0 ? 0 : port + 1,
    clients: [{ clientId: ${quoted(name)}, clientSecret: random() }],
    googleHabits: false,${
      page === undefined
        ? ''
        : `
    scopes: { ${quoted(page.scope)}: { description: ${quoted(page.words)} } },
    api: { ${quoted(page.apiPath)}: { scope: ${quoted(page.scope)}, body: ${page.example} } },`
    }
  })
  const { issuer, clientId, clientSecret } = server
  return {
    port,
    host: 'localhost',
    baseUrl: \`http://localhost:\${port}\`,
    client: { provider: { issuer }, clientId, clientSecret },
    api: issuer,
    sessionSecret: random(),
    encryptionKey: random(),
    storage: ${store === 'session' ? "'session'" : 'memoryStore()'},
    logLevel: 'warn',
    hint: ' and sign in with any user name and the password "password"',
    close: () => server.close(),
  }
}
`
}

/** Nothing for sessions, which need no file of their own. */
export function storeFile(choices: Choices): string | undefined {
  const text = STORE_FILES[choices.store]
  return text?.(onlyIn(choices, ': string'))
}

const STORE_FILES: Partial<Record<StoreName, (type: string) => string>> = {
  sqlite: (type) => `/** Credentials in a SQLite file, sealed with OAUTH2_KEY. */
${imported('{ createCredentialTables, sqlStore }', 'fastify-oauth2client/storage/sql')}
${imported('{ openSqlite }', 'fastify-oauth2client/storage/sqlite')}

export async function openStore(path${type}) {
  const db = await openSqlite({ path })
  await createCredentialTables(db)
  return { storage: sqlStore({ db }), close: () => db.destroy() }
}
`,
  postgres: (type) => `/** Credentials in PostgreSQL, sealed with OAUTH2_KEY. */
${imported('{ createCredentialTables, sqlStore }', 'fastify-oauth2client/storage/sql')}
${imported('{ Kysely, PostgresDialect }', 'kysely')}
${imported('pg', 'pg')}

export async function openStore(connectionString${type}) {
  const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 5_000 })
  // Connections that break, idle or lent out, end the process otherwise.
  pool.on('error', (error) => console.error(error.message))
  pool.on('connect', (client) => client.on('error', (error) => console.error(error.message)))
  const db = new Kysely${type === '' ? '' : '<any>'}({ dialect: new PostgresDialect({ pool }) })
  await createCredentialTables(db)
  return { storage: sqlStore({ db }), close: () => db.destroy() }
}
`,
  redis: (
    type,
  ) => `/** Credentials in Redis, sealed with OAUTH2_KEY. It has to keep its data: a cache that drops some will not do. */
${imported('{ redisStore }', 'fastify-oauth2client/storage/redis')}
${imported('{ Redis }', 'ioredis')}

export async function openStore(url${type}) {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 3 })
  client.on('error', (error) => console.error(error.message))
  await client.connect()
  return { storage: redisStore({ client }), close: () => client.quit() }
}
`,
}
