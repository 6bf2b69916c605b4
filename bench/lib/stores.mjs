// The stores that lookups are measured on. Each is filled directly, past the store, and `close` leaves nothing behind.
import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompiledQuery, DummyDriver, Kysely, MysqlDialect, PostgresDialect, sql } from 'kysely'
import { redisStore } from '../../dist/storage/redis.js'
import { createCredentialTables, sqlStore } from '../../dist/storage/sql.js'
import { openSqlite } from '../../dist/storage/sqlite.js'

/** Of this run, so that others may use the same server. */
const run = `bench_${randomBytes(4).toString('hex')}`
const BATCH = 1_000

export const keyOf = (user) => `user/${user}`
/** Base64url, as sealed records are. */
const recordOf = (bytes) => randomBytes(Math.ceil((bytes * 3) / 4)).toString('base64url')

/** The users from 1 to `users`, a batch at a time. */
function* batches(users) {
  for (let from = 1; from <= users; from += BATCH) {
    yield Array.from({ length: Math.min(BATCH, users - from + 1) }, (_, index) => from + index)
  }
}

/** The very statement that the store sends for a lookup: one that goes nowhere. */
async function lookupOf(db, table) {
  const executor = db.getExecutor()
  let sent
  class Recorder extends DummyDriver {
    async acquireConnection() {
      return {
        async executeQuery(query) {
          sent = query
          return { rows: [] }
        },
      }
    }
  }
  const recording = new Kysely({
    dialect: {
      createAdapter: () => executor.adapter,
      createDriver: () => new Recorder(),
      createIntrospector: () => db.introspection,
      createQueryCompiler: () => executor,
    },
  })
  await sqlStore({ db: recording, table }).get(keyOf(1))
  return sent
}

/**
 * @param fill `(table, users, bytes) => Promise`
 * @param explain what stands before a statement to have it explained
 * @param version an expression
 * @param close removes the database; without it the tables are dropped
 */
function sqlBench({ db, fill, explain, version, close }) {
  const tables = []
  return {
    async version() {
      const { rows } = await sql`select ${sql.raw(version)} as version`.execute(db)
      return rows[0].version
    },
    async fill(users, bytes) {
      const table = `${run}_${users}`
      tables.push(table, `${table}_leases`)
      await createCredentialTables(db, { table })
      await fill(table, users, bytes)
      return sqlStore({ db, table })
    },
    async explain(users) {
      const { sql: statement, parameters } = await lookupOf(db, `${run}_${users}`)
      const { rows } = await db.executeQuery(CompiledQuery.raw(`${explain} ${statement}`, [...parameters]))
      return rows.map((row) =>
        Object.entries(row)
          .map(([name, value]) => `${name}=${value}`)
          .join(' '),
      )
    },
    async close() {
      if (!close) for (const table of tables) await db.schema.dropTable(table).ifExists().execute()
      await db.destroy()
      await close?.()
    },
  }
}

export const stores = {
  async postgres() {
    const { default: pg } = await import('pg')
    const url = process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/test'
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
    const version = "version() || ', shared_buffers ' || current_setting('shared_buffers')"
    async function fill(table, users, bytes) {
      const parts = sql.lit(Math.ceil(bytes / 32))
      await sql`insert into ${sql.table(table)} (credential_key, value, generation, updated_at)
        select 'user/' || n, (select string_agg(md5(n || '/' || part), '') from generate_series(1, ${parts}) part),
          n, extract(epoch from clock_timestamp()) * 1000000
        from generate_series(1, ${sql.lit(users)}) n`.execute(db)
      await sql`vacuum analyze ${sql.table(table)}`.execute(db)
    }
    return sqlBench({ db, fill, explain: 'explain', version })
  },

  async mariadb() {
    const { createPool } = await import('mysql2')
    const uri = process.env.TEST_MYSQL_URL ?? 'mysql://root@127.0.0.1:3306/test'
    const db = new Kysely({ dialect: new MysqlDialect({ pool: createPool({ uri, connectionLimit: 1 }) }) })
    const version = "concat(version(), ', innodb_buffer_pool_size ', @@innodb_buffer_pool_size div 1048576, ' MB')"
    async function fill(table, users, bytes) {
      for (const batch of batches(users)) {
        const rows = batch.map((n) => sql`(${Buffer.from(keyOf(n))}, ${recordOf(bytes)}, ${n}, ${Date.now() * 1000})`)
        await sql`insert into ${sql.table(table)} (credential_key, value, generation, updated_at)
          values ${sql.join(rows)}`.execute(db)
      }
      await sql`analyze table ${sql.table(table)}`.execute(db)
    }
    return sqlBench({ db, fill, explain: 'explain', version })
  },

  async sqlite() {
    const folder = await mkdtemp(join(tmpdir(), `${run}-`))
    const db = await openSqlite({ path: join(folder, 'bench.sqlite') })
    async function fill(table, users, bytes) {
      await sql`insert into ${sql.table(table)} (credential_key, value, generation, updated_at)
        with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < ${sql.lit(users)})
        select 'user/' || n, lower(hex(randomblob(${sql.lit(Math.ceil(bytes / 2))}))), n, 1 from numbers`.execute(db)
      await sql`analyze`.execute(db)
      await sql`pragma wal_checkpoint(truncate)`.execute(db)
    }
    const close = () => rm(folder, { recursive: true })
    return sqlBench({ db, fill, explain: 'explain query plan', version: 'sqlite_version()', close })
  },

  async redis() {
    const { Redis } = await import('ioredis')
    const client = new Redis(process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379')
    const filled = []
    /** The names that the store gives its records. */
    const nameOf = (users, n) => `${run}:${users}:record:{/${keyOf(n)}}`
    return {
      version: async () => /redis_version:(\S+)/.exec(await client.info('server'))[1],
      async fill(users, bytes) {
        filled.push(users)
        for (const batch of batches(users)) {
          const pipeline = client.pipeline()
          for (const n of batch) {
            pipeline.hset(nameOf(users, n), {
              value: recordOf(bytes),
              generation: n,
              written: Date.now() * 1000,
              by: '-',
            })
          }
          await pipeline.exec()
        }
        return redisStore({ client, prefix: `${run}:${users}:` })
      },
      explain: async () => ['one script: TIME, and HMGET of one name'],
      async close() {
        for (const users of filled) {
          for (const batch of batches(users)) await client.unlink(...batch.map((n) => nameOf(users, n)))
        }
        await client.quit()
      },
    }
  },
}
