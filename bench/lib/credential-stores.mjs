/**
 * The stores that credentials are kept in, empty at first. Each is imported where it is used: starting is measured too.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const POSTGRES_URL = process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/test'
export const REDIS_URL = process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379'

/** Of one run, so that others may use the same servers. */
export const freshName = () => `bench_${randomBytes(4).toString('hex')}`

export async function postgres() {
  const [{ default: pg }, { Kysely, PostgresDialect }] = await Promise.all([import('pg'), import('kysely')])
  const pool = new pg.Pool({ connectionString: POSTGRES_URL, max: 10 })
  return { pool, db: new Kysely({ dialect: new PostgresDialect({ pool }) }) }
}

export async function redis() {
  const { Redis } = await import('ioredis')
  return new Redis(REDIS_URL)
}

const folderOf = (name) => join(tmpdir(), name)

export async function sqlite(name) {
  const { openSqlite } = await import('../../dist/storage/sqlite.js')
  mkdirSync(folderOf(name), { recursive: true })
  return { db: await openSqlite({ path: join(folderOf(name), 'credentials.sqlite') }) }
}

async function sql({ db }, table) {
  const { createCredentialTables, sqlStore } = await import('../../dist/storage/sql.js')
  await createCredentialTables(db, { table })
  return sqlStore({ db, table })
}

/** `name` of the table or of the prefix: processes with the same one share what is stored. */
export const credentialStores = {
  async memory() {
    const { memoryStore } = await import('../../dist/storage/memory.js')
    return memoryStore()
  },

  sqlite: async (name) => sql(await sqlite(name), name),

  postgres: async (name) => sql(await postgres(), name),

  async redis(name) {
    const { redisStore } = await import('../../dist/storage/redis.js')
    return redisStore({ client: await redis(), prefix: `${name}:` })
  },
}

/** Removes what such stores have left behind. */
export async function removeAll(name) {
  rmSync(folderOf(name), { recursive: true, force: true })
  const { db } = await postgres()
  for (const table of [name, `${name}_leases`]) await db.schema.dropTable(table).ifExists().execute()
  await db.destroy()
  const client = await redis()
  for await (const keys of client.scanStream({ match: `${name}:*`, count: 1_000 }))
    if (keys.length > 0) await client.unlink(...keys)
  await client.quit()
}
