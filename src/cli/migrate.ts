/** `oauth2client migrate`: the tables of `sqlStore`, created or printed. */
import {
  type AnyKysely,
  type CredentialTable,
  type CredentialTablesOptions,
  createCredentialTables,
  credentialTables,
  loadKysely,
  type SqlDialect,
} from '../storage/sql-dialect.js'
import { defineCommand, type Io, OK, UsageError } from './command.js'
import { compilerOf, parseDatabaseUrl } from './database.js'

const DIALECTS: readonly string[] = ['postgres', 'mysql', 'sqlite'] satisfies SqlDialect[]

const HELP = `Usage: oauth2client migrate [--url <url>] [--table <name>] [--lease-table <name>] [--json]
       oauth2client migrate --print [--dialect postgres|mysql|sqlite] [--table <name>] [--lease-table <name>]

Creates the tables of sqlStore() where they are missing. Changes and drops nothing, so it may run with every deployment.

  DATABASE_URL=postgres://app@db.example/app npx fastify-oauth2client migrate
  npx fastify-oauth2client migrate --url sqlite:data/credentials.sqlite
  npx fastify-oauth2client migrate --print --dialect mysql > migrations/20-oauth2.sql

PostgreSQL needs "pg", MySQL and MariaDB "mysql2", and all of them "kysely", installed where the command runs.

Options:
  --url <url>           postgres://, mysql://, mariadb:// or sqlite:<path>. Default: DATABASE_URL of the environment, where
                        other users of the machine do not see its password
  --print               prints the SQL instead of running it, for a migration tool; needs no database
  --dialect <name>      what to print: postgres, mysql (MariaDB too) or sqlite. Default: that of the URL
  --table <name>        table of credentials, schema.table too. Default: oauth2_credentials
  --lease-table <name>  table of leases. Default: the other one's name followed by _leases
  --json                { "dialect": ..., "tables": [{ "name": ..., "created": true }] }
  -h, --help            this text
`

export const migrate = defineCommand({
  name: 'migrate',
  summary: 'creates the tables of sqlStore, or prints their SQL',
  help: HELP,
  options: {
    url: { type: 'string' },
    print: { type: 'boolean' },
    dialect: { type: 'string' },
    table: { type: 'string' },
    'lease-table': { type: 'string' },
    json: { type: 'boolean' },
  },
  async run(values, io) {
    for (const [name, value] of Object.entries(values)) {
      if (value === '') throw new UsageError(`--${name} is empty.`)
    }
    const { table, 'lease-table': leaseTable, dialect, json = false } = values
    const names = { ...(table !== undefined && { table }), ...(leaseTable !== undefined && { leaseTable }) }
    // Variables that are set to nothing count as not set.
    const url = values.url ?? (io.env.DATABASE_URL || undefined)
    if (values.print) {
      if (json) throw new UsageError('--print prints SQL; --json does not go with it.')
      await print(dialect ?? (url && parseDatabaseUrl(url).dialect), names, io)
    } else {
      if (dialect !== undefined) throw new UsageError('--dialect goes with --print; otherwise the URL tells.')
      if (url === undefined) throw new UsageError('no database: write --url or set DATABASE_URL.')
      await create(url, names, json, io)
    }
    return OK
  },
})

async function print(dialect: string | undefined, names: CredentialTablesOptions, { stdout }: Io): Promise<void> {
  if (dialect === undefined || !DIALECTS.includes(dialect)) {
    throw new UsageError(`--print needs --dialect ${DIALECTS.join(', --dialect ')}, or a URL.`)
  }
  const { sql } = await loadKysely()
  const compiler = await compilerOf(dialect as SqlDialect)
  for (const { statements } of credentialTables(sql, { ...names, dialect: dialect as SqlDialect })) {
    for (const statement of statements) stdout.write(`${statement.compile(compiler).sql};\n`)
  }
}

async function create(url: string, names: CredentialTablesOptions, json: boolean, { stdout, cwd }: Io): Promise<void> {
  const { dialect, open, redact } = parseDatabaseUrl(url)
  let db: AnyKysely | undefined
  try {
    db = await open(cwd)
    const { sql } = await loadKysely()
    const tables: { name: string; created: boolean }[] = []
    for (const table of credentialTables(sql, { ...names, dialect })) {
      tables.push({ name: table.name, created: !(await exists(db, dialect, table)) })
    }
    await createCredentialTables(db, { ...names, dialect })
    if (json) stdout.write(`${JSON.stringify({ dialect, tables })}\n`)
    else for (const { name, created } of tables) stdout.write(`${name}: ${created ? 'created' : 'already there'}\n`)
  } catch (error) {
    if (error instanceof Error) error.message = redact(error.message)
    throw error
  } finally {
    await db?.destroy()
  }
}

/** @throws Error when there is something else of that name, which "create table if not exists" would pass over */
async function exists(db: AnyKysely, dialect: SqlDialect, { name, columns }: CredentialTable): Promise<boolean> {
  const { sql } = await loadKysely()
  const [table, schema] = name.split('.').reverse() as [string, string?]
  // Not simply by selecting from it: PostgreSQL would also find a table of another schema, and still create this one.
  const catalogue = {
    postgres:
      () => sql`select 1 from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
      where relname = ${table} and nspname = ${schema === undefined ? sql`current_schema()` : schema}`,
    mysql: () => sql`select 1 from information_schema.tables
      where table_name = ${table} and table_schema = ${schema === undefined ? sql`database()` : schema}`,
    sqlite: () => sql`select 1 from ${sql.table(`${schema ?? 'main'}.sqlite_master`)}
      where name = ${table} collate nocase`,
  }
  const found = await catalogue[dialect]().execute(db)
  if (found.rows.length === 0) return false
  try {
    // Not quoted: what SQLite does not know as a column is text to it when it stands in quotes.
    await sql`select ${sql.raw(columns.join(', '))} from ${sql.table(name)} where 1 = 0`.execute(db)
    return true
  } catch (cause) {
    throw new Error(
      `${name} is there, but is no table of sqlStore: ${(cause as Error).message}. Choose another --table.`,
      { cause },
    )
  }
}
