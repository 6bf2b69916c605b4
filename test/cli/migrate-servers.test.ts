import { randomBytes } from 'node:crypto'
import { Kysely, MysqlDialect, PostgresDialect, sql } from 'kysely'
import { createPool } from 'mysql2'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sqlStore } from '../../src/storage/sql.js'
import { describeWith } from '../storage/servers.js'
import type { Db } from '../storage/sql-tables.js'
import { run } from './run.js'

const postgres = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')
const mysql = await describeWith('TEST_MYSQL_URL', 'mysql://root@127.0.0.1:3306/test')
const unique = () => `migrate_${randomBytes(4).toString('hex')}`

/** What every server has to pass, through the same driver as a user has. */
function passes(describe: typeof postgres.describe, name: string, url: string, connect: () => Db) {
  describe(`oauth2client migrate on ${name}`, () => {
    let db: Db
    beforeAll(() => {
      db = connect()
    })
    afterAll(() => db.destroy())

    test('creates the tables once, also when several deployments do it at the same time', async () => {
      const table = unique()
      const args = ['migrate', '--url', url, '--table', table]
      try {
        const ran = await Promise.all([run(args), run(args), run(args)])
        expect(ran.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(3).fill({ code: 0, stderr: '' }))
        const store = sqlStore({ db, table })
        expect(await store.put('user/alice', 'sealed', 0)).toBeGreaterThan(0)
        expect(await run(args)).toEqual({
          code: 0,
          stdout: `${table}: already there\n${table}_leases: already there\n`,
          stderr: '',
        })
        expect((await store.get('user/alice'))?.value).toBe('sealed')
      } finally {
        for (const unwanted of [table, `${table}_leases`]) await db.schema.dropTable(unwanted).ifExists().execute()
      }
    })

    test('a table that is something else is an error, and nothing is created', async () => {
      const table = unique()
      await sql`create table ${sql.table(table)} (id integer primary key, credentials text)`.execute(db)
      try {
        const { code, stdout, stderr } = await run(['migrate', '--url', url, '--table', table])
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
        expect(stderr).toMatch(/^oauth2client migrate: \w+ is there, but [^\n]*credential_key[^\n]* --table\.\n$/)
        await expect(sql`select 1 from ${sql.table(`${table}_leases`)}`.execute(db)).rejects.toThrow()
      } finally {
        await db.schema.dropTable(table).execute()
      }
    })

    test('a database that is not there, a server that does not answer: one line, 1, and no password', async () => {
      for (const [pathname, port] of [
        ['/missing', new URL(url).port],
        ['/test', '1'],
      ] as const) {
        const wrong = Object.assign(new URL(url), { pathname, port, password: 'p%40ssw0rd' })
        const { code, stdout, stderr } = await run(['migrate'], { env: { DATABASE_URL: wrong.href } })
        expect({ code, stdout }, pathname).toEqual({ code: 1, stdout: '' })
        expect(stderr).toMatch(/^oauth2client migrate: [^\n]+\n$/)
        expect(stderr).not.toContain('ssw0rd')
      }
    })
  })
}

passes(
  postgres.describe,
  'PostgreSQL',
  postgres.url,
  () => new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: postgres.url }) }) }),
)
passes(
  mysql.describe,
  'MySQL or MariaDB',
  mysql.url,
  () => new Kysely({ dialect: new MysqlDialect({ pool: createPool(mysql.url) }) }),
)

postgres.describe('oauth2client migrate on PostgreSQL with several schemas', () => {
  test('a table of the same name in another schema of the search path is not taken for this one', async () => {
    const [schema, table] = [unique(), unique()]
    const db = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: postgres.url }) }) })
    const url = new URL(postgres.url)
    try {
      await sql`create schema ${sql.ref(schema)}`.execute(db)
      await run(['migrate', '--url', url.href, '--table', table])
      url.searchParams.set('options', `-c search_path=${schema},public`)
      const { stdout } = await run(['migrate', '--url', url.href, '--table', table])
      expect(stdout).toBe(`${table}: created\n${table}_leases: created\n`)
      const named = ['migrate', '--url', postgres.url, '--table', `${schema}.${table}`]
      expect((await run(named)).stdout).toContain(`${schema}.${table}: already there\n`)
    } finally {
      await sql`drop schema if exists ${sql.ref(schema)} cascade`.execute(db)
      for (const name of [table, `${table}_leases`]) await db.schema.dropTable(name).ifExists().execute()
      await db.destroy()
    }
  })
})

mysql.describe('oauth2client migrate on MySQL or MariaDB with a user of its own', () => {
  test('a wrong password is one line, 1, and no password; mariadb:// works, too', async () => {
    const db = new Kysely({ dialect: new MysqlDialect({ pool: createPool(mysql.url) }) })
    const user = unique()
    const table = unique()
    const url = Object.assign(new URL(mysql.url), { username: user, password: 'r%40ght' })
    try {
      await sql.raw(`create user '${user}'@'%' identified by 'r@ght'`).execute(db)
      await sql.raw(`grant all on ${url.pathname.slice(1)}.* to '${user}'@'%'`).execute(db)
      const right = await run(['migrate', '--url', url.href.replace('mysql:', 'mariadb:'), '--table', table])
      expect(right).toEqual({ code: 0, stdout: `${table}: created\n${table}_leases: created\n`, stderr: '' })
      url.password = 'wr%40ng'
      const { code, stdout, stderr } = await run(['migrate', '--url', url.href, '--table', table])
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^oauth2client migrate: Access denied[^\n]*\n$/)
      expect(stderr).not.toMatch(/wr(@|%40)ng/)
    } finally {
      for (const name of [table, `${table}_leases`]) await db.schema.dropTable(name).ifExists().execute()
      await sql.raw(`drop user if exists '${user}'@'%'`).execute(db)
      await db.destroy()
    }
  })
})
