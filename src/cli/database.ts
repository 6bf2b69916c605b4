/** From the URL of a database to a Kysely instance on it, with the driver that the user has installed. Called by commands. */
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Dialect } from 'kysely'
import { MissingPeerError } from '../errors.js'
import { type AnyKysely, loadKysely, type SqlDialect } from '../storage/sql-dialect.js'
import { openSqlite } from '../storage/sqlite.js'
import { UsageError } from './command.js'

/** A database that a URL names. It is not touched before `open`. */
export interface Database {
  readonly dialect: SqlDialect
  /**
   * @param cwd where drivers and relative paths are looked for
   * @throws {MissingPeerError} without Kysely or the driver. Servers are reached by the first query only.
   */
  open(cwd: string): Promise<AnyKysely>
  /** Takes the password out of a text that others wrote, such as the message of a driver. */
  redact(text: string): string
}

const CONNECT_MS = 10_000
const SCHEMES: Readonly<Record<string, SqlDialect>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  mysql: 'mysql',
  mariadb: 'mysql',
  sqlite: 'sqlite',
}

/** @throws {UsageError} whose message holds nothing of the URL */
export function parseDatabaseUrl(url: string): Database {
  const [, scheme = '', rest = ''] = /^([a-z]+):(.*)$/is.exec(url) ?? []
  const dialect = SCHEMES[scheme.toLowerCase()]
  if (!dialect) {
    throw new UsageError('the URL of a database begins with postgres://, mysql://, mariadb:// or sqlite:.')
  }
  if (dialect === 'sqlite') {
    // With slashes, tools disagree whether the path is relative.
    if (rest === '' || rest.startsWith('//')) {
      throw new UsageError(
        'after "sqlite:" comes the path of a file, as in sqlite:data/app.sqlite or sqlite:/srv/app.sqlite.',
      )
    }
    return { dialect, open: (cwd) => openSqlite({ path: resolve(cwd, rest) }), redact: (text) => text }
  }
  if (!URL.canParse(url)) {
    throw new UsageError(
      'the URL of the database is none. In a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25.',
    )
  }
  return {
    dialect,
    open: dialect === 'postgres' ? (cwd) => openPostgres(url, cwd) : (cwd) => openMysql(`mysql:${rest}`, cwd),
    redact: (text) => secretsOf(new URL(url)).reduce((left, secret) => left.replaceAll(secret, '***'), text),
  }
}

function secretsOf({ password, searchParams }: URL): string[] {
  let plain = password
  try {
    plain = decodeURIComponent(password)
  } catch {
    // A lone "%": drivers take it as it is, or say that they cannot.
  }
  return [plain, password, searchParams.get('password') ?? ''].filter((secret) => secret !== '')
}

async function openPostgres(connectionString: string, cwd: string): Promise<AnyKysely> {
  const { Kysely, PostgresDialect } = await loadKysely()
  const { Pool } = await importDriver<typeof import('pg')>('pg', cwd)
  const pool = new Pool({ connectionString, max: 1, connectionTimeoutMillis: CONNECT_MS })
  // A connection that breaks while nobody uses it is no concern of a command; the next query tells.
  pool.on('error', () => {})
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

async function openMysql(uri: string, cwd: string): Promise<AnyKysely> {
  const { Kysely, MysqlDialect } = await loadKysely()
  const { createPool } = await importDriver<typeof import('mysql2')>('mysql2', cwd)
  return new Kysely({
    dialect: new MysqlDialect({ pool: createPool({ uri, connectionLimit: 1, connectTimeout: CONNECT_MS }) }),
  })
}

/**
 * The user's own driver: first as the folder sees it where the command runs, because this package may be elsewhere (npx)
 * or not see what the app has (pnpm); then as this package does.
 */
async function importDriver<T>(name: string, cwd: string): Promise<T> {
  for (const from of [join(cwd, 'package.json'), import.meta.url]) {
    let file: string
    try {
      file = createRequire(from).resolve(name)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error
      continue
    }
    return ((await import(pathToFileURL(file).href)) as { default: T }).default
  }
  throw new MissingPeerError(name, name)
}

/** A Kysely instance that writes the SQL of a dialect and is connected to nothing. */
export async function compilerOf(dialect: SqlDialect): Promise<AnyKysely> {
  const { Kysely, MysqlDialect, PostgresDialect, SqliteDialect } = await loadKysely()
  const nowhere = () => Promise.reject(new Error('This instance compiles and does not execute.'))
  const dialects: Record<SqlDialect, () => Dialect> = {
    mysql: () => new MysqlDialect({ pool: nowhere }),
    postgres: () => new PostgresDialect({ pool: nowhere }),
    sqlite: () => new SqliteDialect({ database: nowhere }),
  }
  return new Kysely({ dialect: dialects[dialect]() })
}
