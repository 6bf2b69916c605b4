/** A store that several processes can open, described so that it can be handed to them. */
import { Redis } from 'ioredis'
import { Kysely, MysqlDialect, PostgresDialect } from 'kysely'
import { createPool } from 'mysql2'
import pg from 'pg'
import type { CredentialStore } from '../../src/index.js'
import { fileStore } from '../../src/storage/file.js'
import { redisStore } from '../../src/storage/redis.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'

export type StoreKind = 'postgres' | 'mysql' | 'redis' | 'sqlite' | 'file'

export interface StoreTask {
  readonly kind: StoreKind
  /** A URL, or the path of a file. */
  readonly at: string
  /** Of the table, or the beginning of names in Redis. */
  readonly name: string
}

export interface OpenedStore {
  readonly store: CredentialStore
  /** Makes what has to be there before the first use. */
  prepare(): Promise<void>
  /** Removes everything that was stored. */
  remove(): Promise<void>
  close(): Promise<void>
}

/** Connections of one process. */
const POOL = 4

export async function openStore({ kind, at, name }: StoreTask): Promise<OpenedStore> {
  if (kind === 'file') {
    const store = fileStore({ path: at })
    return { store, prepare: async () => {}, remove: async () => {}, close: () => store.close() }
  }
  if (kind === 'redis') return openRedis(at, name)
  const db = kind === 'sqlite' ? await openSqlite({ path: at }) : new Kysely({ dialect: dialect(kind, at) })
  const store = sqlStore({ db, table: name, closeDb: true })
  return {
    store,
    prepare: () => createCredentialTables(db, { table: name }),
    async remove() {
      for (const table of [name, `${name}_leases`]) await db.schema.dropTable(table).ifExists().execute()
    },
    close: () => store.close(),
  }
}

function dialect(kind: 'postgres' | 'mysql', url: string) {
  if (kind === 'mysql') return new MysqlDialect({ pool: createPool({ uri: url, connectionLimit: POOL }) })
  const pool = new pg.Pool({ connectionString: url, max: POOL, connectionTimeoutMillis: 2_000 })
  // Idle connections that break are no reason to die; the next use gets a new one.
  pool.on('error', () => {})
  // The same for one that is lent out and has nothing to do at that moment.
  pool.on('connect', (client) => client.on('error', () => {}))
  return new PostgresDialect({ pool })
}

function openRedis(url: string, name: string): OpenedStore {
  const client = new Redis(url, { maxRetriesPerRequest: 1, commandTimeout: 2_000, retryStrategy: () => 100 })
  client.on('error', () => {})
  const prefix = `${name}:`
  const store = redisStore({ client, prefix, closeClient: true })
  return {
    store,
    prepare: async () => {},
    async remove() {
      for await (const key of store.list('')) await client.del(`${prefix}record:{/${key}}`)
    },
    async close() {
      // One that never reached its server has nobody to say goodbye to.
      await store.close().catch(() => client.disconnect())
    },
  }
}
