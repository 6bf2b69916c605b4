import { chmod, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CamelCasePlugin, Kysely, SqliteDialect, sql } from 'kysely'
import Libsql from 'libsql'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'
import { type Children, compileForChildren } from './children.js'
import { age, type Db } from './sql-tables.js'

let directory: string
let path: string
const open: Db[] = []

async function connect(): Promise<Db> {
  const db = await openSqlite({ path })
  open.push(db)
  return db
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sql-store-'))
  path = join(directory, 'credentials.sqlite')
})

afterEach(async () => {
  for (const db of open.splice(0)) await db.destroy()
  await rm(directory, { recursive: true })
})

credentialStoreContract({
  test,
  describe: (name, fn) => describe(`sqlStore on SQLite, two connections: ${name}`, fn),
  async create() {
    const [first, second] = [await connect(), await connect()]
    await createCredentialTables(first)
    return {
      store: sqlStore({ db: first, closeDb: true }),
      second: sqlStore({ db: second }),
      advance: (ms) => age(second, ms),
      async cleanup() {},
    }
  },
})

describe('sqlStore', () => {
  test('creating the tables again changes nothing', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    await store.put('k', 'v')
    await createCredentialTables(db)
    expect((await store.get('k'))?.value).toBe('v')
  })

  test('a lookup, a new key and a change take one statement each', async () => {
    const database = new Libsql(path)
    onTestFinished(() => void database.close())
    let statements = 0
    const db = new Kysely<unknown>({
      dialect: new SqliteDialect({ database }),
      log: () => {
        statements += 1
      },
    })
    await createCredentialTables(db)
    const store = sqlStore({ db })
    const count = async (use: () => Promise<unknown>) => {
      statements = 0
      await use()
      return statements
    }
    expect(await count(() => store.get('k'))).toBe(1)
    expect(await count(() => store.put('k', 'v', 0))).toBe(1)
    const generation = (await store.get('k'))?.generation as number
    expect(await count(() => store.put('k', 'w', generation))).toBe(1)
    expect(await count(() => store.delete('k', generation))).toBe(1)
  })

  test('tables may have other names, and two stores live beside each other', async () => {
    const db = await connect()
    const names = { table: 'main.tokens', leaseTable: 'token leases' }
    await createCredentialTables(db, names)
    await createCredentialTables(db)
    const [named, usual] = [sqlStore({ db, ...names }), sqlStore({ db })]
    await named.put('k', 'v')
    expect(await named.lock('k', 1000)).toBeDefined()
    expect(await usual.get('k')).toBeUndefined()
    expect(await usual.lock('k', 1000)).toBeDefined()
  })

  test('the file keeps values and tombstones when it is reopened', async () => {
    const before = sqlStore({ db: await connect(), closeDb: true })
    await createCredentialTables(open[0]!)
    await before.put('kept', 'v', 0)
    const gone = await before.put('gone', 'v', 0)
    await before.delete('gone')
    await before.close()

    const after = sqlStore({ db: await connect() })
    expect((await after.get('kept'))?.value).toBe('v')
    expect(await after.put('gone', 'late', Number(gone))).toBe(false)
    expect(await after.put('gone', 'again', 0)).toBe(Number(gone) + 2)
  })

  test('sweep removes tombstones and leases after an hour, nothing else', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    const rows = async () => (await sql`select credential_key from oauth2_credentials`.execute(db)).rows.length
    for (const key of ['live', 'dead', 'revived']) await store.put(key, 'v')
    await store.delete('dead')
    await store.delete('revived')
    await store.put('revived', 'v', 0)
    await store.lock('forgotten', 1000)
    await age(db, 3_590_000)
    expect(await store.sweep()).toBe(0)
    await age(db, 20_000)
    expect(await store.sweep()).toBe(1)
    expect(await rows()).toBe(2)
    expect((await sql`select * from oauth2_credentials_leases`.execute(db)).rows).toEqual([])
  })

  test('deleting sweeps on the way', async () => {
    const db = await connect()
    await createCredentialTables(db)
    await sqlStore({ db }).put('old', 'v')
    await sqlStore({ db }).delete('old')
    await age(db, 7_200_000)
    const store = sqlStore({ db })
    await store.put('new', 'v')
    await store.delete('new')
    const { rows } = await sql`select credential_key from oauth2_credentials`.execute(db)
    expect(rows).toEqual([{ credential_key: 'new' }])
  })

  test('a deleted value leaves the database at once', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    await store.put('k', 'v')
    await store.delete('k')
    expect((await sql`select value from oauth2_credentials`.execute(db)).rows).toEqual([{ value: null }])
  })

  test('a lookup is one read by the primary key', async () => {
    const db = await connect()
    await createCredentialTables(db)
    await sqlStore({ db }).put('k', 'v')
    const { rows } = await sql<{ detail: string }>`explain query plan
      select value from oauth2_credentials where credential_key = ${'k'} and deleted_at is null`.execute(db)
    expect(rows.map((row) => row.detail)).toEqual([expect.stringMatching(/^SEARCH .*\(credential_key=\?\)/)])
  })

  test('plugins of the app do not rename columns', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db: db.withPlugin(new CamelCasePlugin()) })
    await store.put('k', 'v')
    await store.delete('k')
    expect(await store.put('k', 'again', 0)).toBeGreaterThan(0)
    expect((await store.get('k'))?.value).toBe('again')
  })

  test('refuses keys that databases would cut off or merge', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    for (const key of ['a\0b', 'a\ud800', '\udc00a', 'é'.repeat(1025)]) {
      await expect(store.put(key, 'v')).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
      await expect(store.get(key)).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
    }
    expect(await store.put('é'.repeat(1024), 'v')).toBeGreaterThan(0)
  })

  test('rejects with the error of the database when there are no tables', async () => {
    const store = sqlStore({ db: await connect() })
    await expect(store.get('k')).rejects.toThrow(/no such table/)
    await expect(store.put('k', 'v')).rejects.toThrow(/no such table/)
  })

  test('says so when the dialect cannot be told', async () => {
    const db = { getExecutor: () => ({ adapter: {} }) } as unknown as Db
    expect(() => sqlStore({ db })).toThrow(expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }))
  })

  test('does not close a database that it does not own', async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    await store.close()
    expect(await store.get('k')).toBeUndefined()
  })
})

describe('sqlStore on SQLite in several processes', () => {
  let children: Children
  beforeAll(async () => {
    children = await compileForChildren()
  })
  afterAll(() => children.remove())

  test('four processes that increment a number lose none', { timeout: 60_000 }, async () => {
    const db = await connect()
    await createCredentialTables(db)
    const store = sqlStore({ db })
    await store.put('counter', '0')
    const task = { kind: 'sqlite', path, action: 'increment', count: 100 } as const
    const ends = await Promise.all([1, 2, 3, 4].map(() => children.run(task)))
    // Node 22 says that its SQLite is experimental.
    expect(ends.map(({ code, signal }) => ({ code, signal }))).toEqual(Array(4).fill({ code: 0, signal: null }))
    expect((await store.get('counter'))?.value).toBe('400')
  })
})

describe('openSqlite', () => {
  const mode = async (file: string) => (await stat(file)).mode & 0o777

  test.skipIf(process.platform === 'win32')('makes files that only their owner can read', async () => {
    const umask = process.umask(0o002)
    try {
      const db = await connect()
      await createCredentialTables(db)
      for (const file of [path, `${path}-wal`, `${path}-shm`]) expect(await mode(file)).toBe(0o600)
    } finally {
      process.umask(umask)
    }
  })

  test.skipIf(process.platform === 'win32')('leaves the mode of an existing file alone', async () => {
    await (await connect()).destroy()
    await chmod(path, 0o640)
    await connect()
    expect(await mode(path)).toBe(0o640)
  })

  test('turns on WAL and waits for other writers', async () => {
    const db = await connect()
    expect((await sql`pragma journal_mode`.execute(db)).rows).toEqual([{ journal_mode: 'wal' }])
    expect((await sql`pragma busy_timeout`.execute(db)).rows).toEqual([{ timeout: 5000 }])
  })

  test('knows databases in memory', async () => {
    const db = await openSqlite({ path: ':memory:' })
    await createCredentialTables(db)
    expect(await sqlStore({ db }).put('k', 'v', 0)).toBeGreaterThan(0)
    await db.destroy()
  })

  test('rejects when the directory is missing', async () => {
    await expect(openSqlite({ path: join(directory, 'missing', 'file') })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  // The shape of node:sqlite with and without what it got later; Node 20 does not have the real one.
  const drivers = ['what is there', 'node:sqlite', 'node:sqlite of Node 22.5'] as const
  test.each(drivers)('works as a Kysely database for other tables, too: %s', async (driver) => {
    class DatabaseSync {
      readonly database = new Libsql(path)
      prepare(text: string) {
        const statement = this.database.prepare(text)
        const early = {
          all: (...params: unknown[]) => statement.all(params),
          run: (...params: unknown[]) => statement.run(params),
        }
        if (driver === 'node:sqlite of Node 22.5') return early
        return { ...early, columns: () => statement.columns(), iterate: (...p: unknown[]) => statement.iterate(p) }
      }
      close() {
        if (!this.database.open) throw new Error('database is not open')
        this.database.close()
      }
    }
    if (driver !== 'what is there') vi.spyOn(process, 'getBuiltinModule').mockReturnValue({ DatabaseSync })
    const db = await connect()
    vi.restoreAllMocks()
    await createCredentialTables(db)
    expect(await sqlStore({ db }).put('k', 'v', 0)).toBeGreaterThan(0)
    await db.schema
      .createTable('notes')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('text', 'text')
      .execute()
    const inserted = await db.insertInto('notes').values({ text: 'a' }).executeTakeFirst()
    expect(inserted.insertId).toBe(1n)
    expect(await db.updateTable('notes').set({ text: 'b' }).returningAll().execute()).toEqual([{ id: 1, text: 'b' }])
    const streamed: unknown[] = []
    for await (const row of db.selectFrom('notes').selectAll().stream()) streamed.push(row)
    expect(streamed).toEqual([{ id: 1, text: 'b' }])
    await expect(
      db.transaction().execute(async (trx) => {
        await trx.deleteFrom('notes').execute()
        throw new Error('back')
      }),
    ).rejects.toThrow('back')
    expect(await db.selectFrom('notes').selectAll().execute()).toHaveLength(1)
  })
})
