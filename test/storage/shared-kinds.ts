/** Every kind of store that others than this process can read, with a look at all that it wrote down. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Kysely, MysqlDialect, PostgresDialect, sql } from 'kysely'
import { createPool } from 'mysql2'
import pg from 'pg'
import type { describe } from 'vitest'
import type { CredentialStore } from '../../src/index.js'
import { fileStore } from '../../src/storage/file.js'
import { redisStore } from '../../src/storage/redis.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { describeWith } from './servers.js'
import type { Db } from './sql-tables.js'

export interface SharedStore {
  readonly store: CredentialStore
  /** Another connection to the same place, as another process has. */
  connect(): Promise<CredentialStore>
  /** Every byte that is written down: names, values, leases, tombstones. */
  dump(): Promise<string>
  /** Removes everything and closes all connections. */
  end(): Promise<void>
}

export interface SharedKind {
  readonly name: string
  readonly describe: typeof describe | typeof describe.skip
  open(): Promise<SharedStore>
}

/** @param here vitest's `describe`, for kinds that need no server */
export async function sharedKinds(here: typeof describe): Promise<SharedKind[]> {
  const postgres = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')
  const mysql = await describeWith('TEST_MYSQL_URL', 'mysql://root@127.0.0.1:3306/test')
  const redis = await describeWith('TEST_REDIS_URL', 'redis://127.0.0.1:6379')
  return [
    { name: 'a file', describe: here, open: openFile },
    { name: 'SQLite', describe: here, open: openSqliteFile },
    {
      name: 'PostgreSQL',
      describe: postgres.describe,
      open: () =>
        openServer(() => {
          const pool = new pg.Pool({ connectionString: postgres.url, max: 4 })
          return new Kysely({ dialect: new PostgresDialect({ pool }) })
        }),
    },
    {
      name: 'MySQL or MariaDB',
      describe: mysql.describe,
      open: () =>
        openServer(() => {
          const pool = createPool({ uri: mysql.url, connectionLimit: 4 })
          return new Kysely({ dialect: new MysqlDialect({ pool }) })
        }),
    },
    { name: 'Redis', describe: redis.describe, open: () => openRedis(redis.url) },
  ]
}

const suffix = () => randomBytes(6).toString('hex')

/** The bytes of every file in a directory, as characters of one byte each. */
async function bytesOf(directory: string): Promise<string> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  // Locks and leases come and go meanwhile.
  const contents = await Promise.all(files.map((file) => readFile(file, 'latin1').catch(() => '')))
  return [...files, ...contents].join('\n')
}

async function openFile(): Promise<SharedStore> {
  const directory = await mkdtemp(join(tmpdir(), 'stored-records-'))
  const connect = async () => fileStore({ path: join(directory, 'credentials.json') })
  return {
    store: await connect(),
    connect,
    dump: () => bytesOf(directory),
    end: () => rm(directory, { recursive: true }),
  }
}

async function openSqliteFile(): Promise<SharedStore> {
  const directory = await mkdtemp(join(tmpdir(), 'stored-records-'))
  const open: Db[] = []
  const connectDb = async () => {
    const db = await openSqlite({ path: join(directory, 'credentials.sqlite') })
    open.push(db)
    return db
  }
  const first = await connectDb()
  await createCredentialTables(first)
  return {
    store: sqlStore({ db: first }),
    connect: async () => sqlStore({ db: await connectDb() }),
    // The write-ahead log and whatever else lies beside the database are files of the directory too.
    dump: async () => [await bytesOf(directory), await rowsOf(first, 'oauth2_credentials')].join('\n'),
    async end() {
      for (const db of open) await db.destroy()
      await rm(directory, { recursive: true })
    },
  }
}

async function openServer(connectDb: () => Db): Promise<SharedStore> {
  const table = `test_${suffix()}`
  const open: Db[] = [connectDb()]
  const first = open[0] as Db
  await createCredentialTables(first, { table })
  return {
    store: sqlStore({ db: first, table }),
    async connect() {
      const db = connectDb()
      open.push(db)
      return sqlStore({ db, table })
    },
    dump: () => rowsOf(first, table),
    async end() {
      for (const unwanted of [table, `${table}_leases`]) await first.schema.dropTable(unwanted).execute()
      for (const db of open) await db.destroy()
    },
  }
}

async function rowsOf(db: Db, table: string): Promise<string> {
  const found: unknown[] = []
  for (const { name } of await db.introspection.getTables()) {
    if (name.startsWith(table)) found.push(...(await sql`select * from ${sql.table(name)}`.execute(db)).rows)
  }
  return found
    .map((row) =>
      Object.values(row as object)
        .map(textOf)
        .join('\t'),
    )
    .join('\n')
}

const textOf = (value: unknown) => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value))

async function openRedis(url: string): Promise<SharedStore> {
  const prefix = `test-${suffix()}:`
  const open: Redis[] = []
  const connectRedis = () => {
    const client = new Redis(url, { maxRetriesPerRequest: 1 })
    open.push(client)
    return client
  }
  const client = connectRedis()
  const names = async () => {
    const found: string[] = []
    for (let cursor = '0'; ; ) {
      const [next, some] = await client.scan(cursor, 'MATCH', `*${prefix}*`, 'COUNT', 1000)
      found.push(...some)
      if (next === '0') return found
      cursor = next
    }
  }
  return {
    store: redisStore({ client, prefix }),
    connect: async () => redisStore({ client: connectRedis(), prefix }),
    async dump() {
      const found: string[] = []
      for (const name of await names()) {
        const type = await client.type(name)
        if (type !== 'hash' && type !== 'string') throw new Error(`a ${type} is not looked into`)
        const value = type === 'hash' ? Object.entries(await client.hgetall(name)).flat() : [await client.get(name)]
        found.push(name, ...value.map(String))
      }
      return found.join('\n')
    },
    async end() {
      for (const name of await names()) await client.del(name)
      for (const one of open) await one.quit()
    },
  }
}
