/**
 * What differs between databases, and the tables. Called by `storage/sql` and by the app's own migrations.
 */
import type { Kysely, RawBuilder, Sql } from 'kysely'
import { MissingPeerError, OptionError } from '../errors.js'

// biome-ignore lint/suspicious/noExplicitAny: whatever tables the app has are none of our business
export type AnyKysely = Kysely<any>

/**
 * The databases whose SQL is known. `mysql` is for MariaDB, too; `postgres` for what speaks its SQL. An option of
 * {@link createCredentialTables} and {@link sqlStore}, for what Kysely knows by another name.
 */
export type SqlDialect = 'sqlite' | 'postgres' | 'mysql'

/** Options of {@link createCredentialTables}, and of {@link sqlStore}, which wants the same. */
export interface CredentialTablesOptions {
  /** The table of credentials, optionally with its schema as in `app.oauth2_credentials`. Default `oauth2_credentials`. */
  table?: string
  /** The table of leases. Default: `table` followed by `_leases`. */
  leaseTable?: string
  /** Which SQL to write. Default: what the dialect of `db` says. */
  dialect?: SqlDialect
}

/**
 * The longest key, in bytes of UTF-8: what fits into an index entry of PostgreSQL (2704) and of InnoDB (3072), with
 * room for what they add.
 */
export const MAX_KEY_BYTES = 2048

/** Kysely is an optional peer: whoever imports this module without it gets an error only when a store is used. */
export async function loadKysely(): Promise<typeof import('kysely')> {
  try {
    return await import('kysely')
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new MissingPeerError('kysely', 'kysely', { cause })
  }
}

/**
 * Goes by names rather than by `instanceof`, because an app may have another copy of Kysely than we have, and along the
 * prototypes, because third-party dialects extend the adapters of Kysely.
 */
export function dialectOf(db: AnyKysely): SqlDialect {
  let adapter: object | null = db.getExecutor().adapter
  for (; adapter; adapter = Object.getPrototypeOf(adapter)) {
    const name = adapter.constructor.name.toLowerCase()
    for (const dialect of ['sqlite', 'postgres', 'mysql'] as const) if (name.includes(dialect)) return dialect
  }
  throw new OptionError('dialect', 'cannot be told from "db". Write "sqlite", "postgres" or "mysql".')
}

/** Microseconds since 1970 by the clock of the database, as an integer. */
export function nowOf(sql: Sql, dialect: SqlDialect): RawBuilder<number> {
  // julianday() rather than unixepoch('subsec'), which needs SQLite 3.42. It is exact to the millisecond.
  if (dialect === 'sqlite') return sql`cast(round((julianday('now') - 2440587.5) * 86400000.0) as integer) * 1000`
  // Not now(), which stands still at the beginning of the transaction.
  if (dialect === 'postgres') return sql`cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)`
  // Not unix_timestamp(now(6)), which goes through the session's time zone and is off by an hour when summer time ends.
  return sql`timestampdiff(microsecond, '1970-01-01 00:00:00', utc_timestamp(6))`
}

/**
 * Creates the tables of `sqlStore` where they are missing; never changes or drops anything, so it may run at every
 * start, also in several processes at once. `npx fastify-oauth2client migrate` does the same from a shell, and prints
 * the statements with `--print`. Apps with migrations of their own can put them there:
 *
 * ```sql
 * create table oauth2_credentials (
 *   credential_key text primary key,  -- PostgreSQL: text collate "C"; MySQL, MariaDB: varbinary(2048)
 *   value text,                       -- null: deleted. MySQL, MariaDB: longtext
 *   generation bigint not null,
 *   updated_at bigint not null,       -- microseconds since 1970
 *   deleted_at bigint                 -- microseconds since 1970
 * );
 * create index oauth2_credentials_deleted_at on oauth2_credentials (deleted_at);
 * create table oauth2_credentials_leases (
 *   lease_key text primary key,       -- the same type as credential_key
 *   owner varchar(64) not null,
 *   expires_at bigint not null        -- microseconds since 1970
 * );
 * ```
 *
 * The types of the keys matter: they compare byte by byte, so that "Ann", "ann", "Änn" and "ann " are four users. The
 * collations that MySQL and MariaDB choose by themselves do not.
 *
 * @throws OptionError when the dialect cannot be told, MissingPeerError without Kysely, and what the database says.
 *
 * @example
 * ```ts
 * import { createCredentialTables, sqlStore } from 'fastify-oauth2client/storage/sql'
 * import type { Kysely } from 'kysely'
 *
 * async function storeOn(db: Kysely<any>) {
 *   await createCredentialTables(db)
 *   return sqlStore({ db })
 * }
 * ```
 */
export async function createCredentialTables(db: AnyKysely, options: CredentialTablesOptions = {}): Promise<void> {
  const { sql } = await loadKysely()
  const tables = credentialTables(sql, { ...options, dialect: options.dialect ?? dialectOf(db) })
  for (const statement of tables.flatMap(({ statements }) => statements)) {
    try {
      await statement.execute(db)
    } catch (error) {
      // PostgreSQL: two processes that create the same thing at once collide in the catalogue despite "if not exists".
      if (!['23505', '42P07', '42710'].includes(String((error as { code?: unknown }).code))) throw error
      await statement.execute(db)
    }
  }
}

/** One of the tables of `sqlStore`, and how it is made. */
export interface CredentialTable {
  /** As it was given, so with its schema if there is one. */
  readonly name: string
  readonly columns: readonly string[]
  /** In this order. Running them where the table exists changes nothing. */
  readonly statements: readonly RawBuilder<unknown>[]
}

/** What `createCredentialTables` runs and `oauth2client migrate` prints: the only place where the tables are written down. */
export function credentialTables(
  sql: Sql,
  options: CredentialTablesOptions & { dialect: SqlDialect },
): readonly CredentialTable[] {
  const { table = 'oauth2_credentials', leaseTable = `${table}_leases`, dialect } = options
  const mysql = dialect === 'mysql'
  const key = { sqlite: 'text', postgres: 'text collate "C"', mysql: `varbinary(${MAX_KEY_BYTES})` }[dialect]
  const text = mysql ? 'longtext character set utf8mb4 collate utf8mb4_bin' : 'text'
  const [name = '', schema] = table.split('.').reverse()
  const indexName = sql.ref(`${name}_deleted_at`)
  // Where a schema is named, SQLite wants it before the index, PostgreSQL before the table.
  const index =
    dialect === 'sqlite' && schema !== undefined
      ? sql`${sql.ref(schema)}.${indexName} on ${sql.ref(name)}`
      : sql`${indexName} on ${sql.table(table)}`

  const create = (name: string, columns: Record<string, string>, ...more: RawBuilder<unknown>[]): CredentialTable => {
    const lines = Object.entries(columns).map(([column, type]) => sql.raw(`${column} ${type}`))
    const body = sql.join([...lines, ...more], sql.raw(',\n  '))
    return {
      name,
      columns: Object.keys(columns),
      statements: [
        sql`create table if not exists ${sql.table(name)} (\n  ${body}\n)${sql.raw(mysql ? ' engine = InnoDB' : '')}`,
      ],
    }
  }
  const credentials = create(
    table,
    {
      credential_key: `${key} not null primary key`,
      value: text,
      generation: 'bigint not null',
      updated_at: 'bigint not null',
      deleted_at: 'bigint',
    },
    // MySQL has no "create index if not exists", hence the index inside.
    ...(mysql ? [sql`index ${indexName} (deleted_at)`] : []),
  )
  const leases = create(leaseTable, {
    lease_key: `${key} not null primary key`,
    owner: 'varchar(64) not null',
    expires_at: 'bigint not null',
  })
  if (mysql) return [credentials, leases]
  const statements = [...credentials.statements, sql`create index if not exists ${index} (deleted_at)`]
  return [{ ...credentials, statements }, leases]
}
