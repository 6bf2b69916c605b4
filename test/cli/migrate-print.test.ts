import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kysely, MysqlDialect, PostgresDialect, SqliteDialect, sql } from 'kysely'
import Libsql from 'libsql'
import { createPool } from 'mysql2'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { createCredentialTables, type SqlDialect, sqlStore } from '../../src/storage/sql.js'
import { describeWith } from '../storage/servers.js'
import type { Db } from '../storage/sql-tables.js'
import { run } from './run.js'

const folder = await mkdtemp(join(tmpdir(), 'print-'))
afterAll(() => rm(folder, { recursive: true }))

const postgres = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')
const mysql = await describeWith('TEST_MYSQL_URL', 'mysql://root@127.0.0.1:3306/test')

const databases: [SqlDialect, typeof describe | typeof describe.skip, (log: (sql: string) => void) => Db][] = [
  [
    'postgres',
    postgres.describe,
    (log) =>
      new Kysely({
        dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: postgres.url }) }),
        log: ({ query }) => log(query.sql),
      }),
  ],
  [
    'mysql',
    mysql.describe,
    (log) =>
      new Kysely({
        dialect: new MysqlDialect({ pool: createPool(mysql.url) }),
        log: ({ query }) => log(query.sql),
      }),
  ],
  [
    'sqlite',
    describe,
    (log) =>
      new Kysely({
        dialect: new SqliteDialect({ database: new Libsql(join(folder, `${Math.random()}.sqlite`)) }),
        log: ({ query }) => log(query.sql),
      }),
  ],
]

for (const [dialect, describe, connect] of databases) {
  describe(`oauth2client migrate --print --dialect ${dialect}`, () => {
    const table = `print_${Math.random().toString(36).slice(2, 10)}`
    const args = ['migrate', '--print', '--dialect', dialect, '--table', table]

    test('prints exactly what createCredentialTables executes, and it makes a store that works', async () => {
      const { code, stdout, stderr } = await run(args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const executed: string[] = []
      const db = connect((statement) => executed.push(statement))
      try {
        await createCredentialTables(db, { table })
        expect(stdout).toBe(executed.map((statement) => `${statement};\n`).join(''))
        for (const name of [table, `${table}_leases`]) await db.schema.dropTable(name).execute()

        for (const statement of stdout.split(/;\n/).filter(Boolean)) await sql.raw(statement).execute(db)
        const store = sqlStore({ db, table })
        const generation = Number(await store.put('user/alice', 'sealed', 0))
        expect(await store.get('user/Alice')).toBeUndefined()
        expect(await store.delete('user/alice', generation)).toBe(true)
        expect(await store.lock('user/alice', 1000)).toBeDefined()
      } finally {
        for (const name of [table, `${table}_leases`]) await db.schema.dropTable(name).ifExists().execute()
        await db.destroy()
      }
    })
  })
}

test('the SQL for PostgreSQL reads like this', async () => {
  const { stdout } = await run(['migrate', '--print', '--dialect', 'postgres', '--table', 'app.tokens'])
  expect(stdout).toMatchInlineSnapshot(`
    "create table if not exists "app"."tokens" (
      credential_key text collate "C" not null primary key,
      value text,
      generation bigint not null,
      updated_at bigint not null,
      deleted_at bigint
    );
    create index if not exists "tokens_deleted_at" on "app"."tokens" (deleted_at);
    create table if not exists "app"."tokens_leases" (
      lease_key text collate "C" not null primary key,
      owner varchar(64) not null,
      expires_at bigint not null
    );
    "
  `)
})

test('without --dialect it is that of the URL, which is not opened', async () => {
  const env = { DATABASE_URL: 'mariadb://app:secret@127.0.0.1:1/app' }
  const { code, stdout } = await run(['migrate', '--print'], { env })
  expect(code).toBe(0)
  expect(stdout).toBe((await run(['migrate', '--print', '--dialect', 'mysql'])).stdout)
})
