/**
 * Credentials in SQLite, PostgreSQL, MySQL and MariaDB, through Kysely.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { CompiledQuery, RawBuilder } from 'kysely'
import { OptionError } from '../errors.js'
import {
  type AnyKysely,
  type CredentialTablesOptions,
  dialectOf,
  loadKysely,
  MAX_KEY_BYTES,
  nowOf,
} from './sql-dialect.js'
import type { CredentialLock, CredentialStore } from './storage.js'

export { type CredentialTablesOptions, createCredentialTables, type SqlDialect } from './sql-dialect.js'

/** Options of {@link sqlStore}. */
export interface SqlStoreOptions extends CredentialTablesOptions {
  /** A Kysely instance for SQLite, PostgreSQL, MySQL or MariaDB; not a transaction. Its plugins are not used. */
  db: AnyKysely
  /** Whether `close` destroys `db`. Default `false`: it is the app's, and others may be using it. */
  closeDb?: boolean
}

/** What {@link sqlStore} makes: it has every optional method of a store but `peek`, and one of its own. */
export interface SqlStore extends Required<Omit<CredentialStore, 'peek'>> {
  /**
   * Removes tombstones and forgotten leases that are older than an hour, 200 tombstones at most, and resolves to how
   * many tombstones it removed. Deleting does this now and then; call it only if nothing is deleted for long.
   */
  sweep(): Promise<number>
}

/** A row as drivers give it: 64-bit integers as numbers, strings or bigints. */
interface Found {
  /** Nothing in a tombstone. */
  readonly value: string | null
  readonly generation: unknown
  readonly age: unknown
}

const HOUR_US = 3_600_000_000
const SWEEP_EVERY = 64
const SWEEP_ROWS = 200
const LIST_ROWS = 100

const coded = (error: unknown) => error as { code?: unknown; errno?: unknown }
const isDuplicate = (error: unknown) => coded(error).errno === 1062 || coded(error).code === 'ER_DUP_ENTRY'
const isDeadlock = (error: unknown) =>
  coded(error).errno === 1213 || ['40001', '40P01'].includes(String(coded(error).code))

/**
 * Credentials in a table of a SQL database, by way of Kysely. The tables must exist: see `createCredentialTables`.
 *
 * Every method is one statement or a loop around single statements that check the generation, so it needs no
 * transaction and works at every isolation level. A lookup is one read by primary key. All times are the database's.
 *
 * Generations never repeat for a key, although tombstones go away after an hour: a fresh row starts at the current
 * microsecond and every write adds one. A row that is gone lived for an hour at least and was written less than a
 * million times per second, so the current microsecond is above all that it ever had. A clock that is set back by more
 * than that hour could at worst make generations smaller; to repeat one it would have to hit its very microsecond.
 *
 * Keys are at most 2048 bytes of UTF-8 and hold no NUL and no lone surrogates, or methods reject with `OptionError`.
 *
 * @throws OptionError when the dialect cannot be told. Methods reject with MissingPeerError when Kysely is not installed,
 * and with the driver's error when the database fails.
 *
 * @example
 * ```ts
 * import { createCredentialTables, sqlStore } from 'fastify-oauth2client/storage/sql'
 * import { openSqlite } from 'fastify-oauth2client/storage/sqlite'
 *
 * const db = await openSqlite({ path: 'credentials.sqlite' })
 * await createCredentialTables(db)
 * const store = sqlStore({ db, closeDb: true })
 * ```
 */
export function sqlStore(options: SqlStoreOptions): SqlStore {
  const { table = 'oauth2_credentials', leaseTable = `${table}_leases`, closeDb = false } = options
  const { dialect = dialectOf(options.db) } = options
  // Plugins such as CamelCasePlugin would rename our columns.
  const db = options.db.withoutPlugins()
  let deletes = 0
  let closed: Promise<void> | undefined

  let loading: ReturnType<typeof prepare> | undefined
  async function prepare() {
    const { CompiledQuery, sql } = await loadKysely()
    const now = nowOf(sql, dialect)
    const rows = sql.table(table)
    // Asked for by every request of an app without a cache: the statement is put together once, and whether the row is a
    // tombstone is seen here, since one condition more has PostgreSQL weigh one index more against another.
    const { sql: lookup } = sql`select value, generation, ${now} - updated_at as age from ${rows}
      where credential_key = ${''}`.compile(db)
    const find = (key: string | Buffer) => CompiledQuery.raw(lookup, [key]) as CompiledQuery<Found>
    return { sql, now, rows, leases: sql.table(leaseTable), find }
  }
  function ready() {
    loading ??= prepare()
    return loading
  }

  /** Statements run outside of transactions: one that lost a deadlock was undone and can be run again as it is. */
  async function run<T>(query: RawBuilder<T> | CompiledQuery<T>) {
    for (let left = 5; ; left--) {
      try {
        return await ('execute' in query ? query.execute(db) : db.executeQuery(query))
      } catch (error) {
        if (left === 0 || !isDeadlock(error)) throw error
      }
    }
  }

  async function changed(query: RawBuilder<unknown>): Promise<boolean> {
    return ((await run(query)).numAffectedRows ?? 0n) > 0n
  }

  /** Runs an `insert`; resolves to `column` of the new row, or to `undefined` when the key is taken. */
  async function insert(query: RawBuilder<unknown>, column: string): Promise<{ result: unknown } | undefined> {
    const { sql } = await ready()
    if (dialect !== 'mysql') {
      const returning = sql`${query} on conflict do nothing returning ${sql.ref(column)} as result`
      return (await run(returning)).rows[0] as { result: unknown } | undefined
    }
    // MySQL has no "returning". "insert ignore" would also ignore values that do not fit.
    try {
      return { result: (await run(query)).insertId }
    } catch (error) {
      if (isDuplicate(error)) return undefined
      throw error
    }
  }

  /** Bytes for MySQL, whose key columns are binary: text would depend on the character set of the connection. */
  function bind(key: string): string | Buffer {
    if (/[\0\p{Surrogate}]/u.test(key)) throw new OptionError('key', 'holds NUL or a lone surrogate.')
    if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new OptionError('key', `is longer than ${MAX_KEY_BYTES} bytes.`)
    return dialect === 'mysql' ? Buffer.from(key) : key
  }

  /** Of a key, whether it is alive or deleted. */
  async function newest(bound: string | Buffer) {
    const { sql, rows } = await ready()
    const found = await run(
      sql<{ generation: unknown; deleted_at: unknown }>`
        select generation, deleted_at from ${rows} where credential_key = ${bound}`,
    )
    return found.rows[0]
  }

  async function sweep(): Promise<number> {
    const { sql, now, rows, leases } = await ready()
    const old = sql`${now} - ${sql.lit(HOUR_US)}`
    await run(sql`delete from ${leases} where expires_at <= ${old}`)
    const found = await run(
      sql<{
        k: unknown
      }>`select credential_key as k from ${rows} where deleted_at <= ${old} limit ${sql.lit(SWEEP_ROWS)}`,
    )
    if (found.rows.length === 0) return 0
    // Asks for the age again: the row may have come back to life since.
    const keys = sql.join(found.rows.map(({ k }) => k))
    const removed = await run(sql`delete from ${rows} where credential_key in (${keys}) and deleted_at <= ${old}`)
    return Number(removed.numAffectedRows ?? 0n)
  }

  return {
    name: 'sql',
    shared: true,
    sweep,

    async get(key) {
      const bound = bind(key)
      const { find } = await ready()
      const [row] = (await run(find(bound))).rows
      if (!row || row.value === null) return undefined
      return { value: row.value, generation: Number(row.generation), age: Math.max(0, Number(row.age) / 1000) }
    },

    async put(key, value, expected) {
      const bound = bind(key)
      const { sql, now, rows } = await ready()
      const update = (generation: number) => sql`update ${rows}
        set value = ${value}, generation = generation + 1, updated_at = ${now}, deleted_at = null
        where credential_key = ${bound} and generation = ${generation}`
      if (expected !== undefined && expected !== 0) {
        return (await changed(sql`${update(expected)} and deleted_at is null`)) ? expected + 1 : false
      }
      // Each round fails only because somebody else's write succeeded in between. Where nothing is to be stored there mostly is
      // nothing: that is tried before it is looked at.
      for (let looked = expected !== 0; ; looked = true) {
        const row = looked ? await newest(bound) : undefined
        if (!row) {
          // The generation must be read in the statement itself: a process that slept for hours between reading the
          // clock and inserting would go back in time. On MySQL, last_insert_id() is how it is handed out.
          const first = dialect === 'mysql' ? sql`last_insert_id(${now})` : now
          const inserted = await insert(
            sql`insert into ${rows} (credential_key, value, generation, updated_at)
              values (${bound}, ${value}, ${first}, ${now})`,
            'generation',
          )
          if (inserted) return Number(inserted.result)
        } else {
          if (expected === 0 && row.deleted_at === null) return false
          const generation = Number(row.generation)
          if (await changed(update(generation))) return generation + 1
        }
      }
    },

    async delete(key, expected) {
      const bound = bind(key)
      const { sql, now, rows } = await ready()
      const deleted = await changed(sql`update ${rows}
        set value = null, generation = generation + 1, updated_at = ${now}, deleted_at = ${now}
        where credential_key = ${bound} and deleted_at is null
        ${expected === undefined ? sql`` : sql`and generation = ${expected}`}`)
      if (deleted && deletes++ % SWEEP_EVERY === 0) {
        // The value is deleted, whatever becomes of older tombstones; the next sweep gets them.
        await sweep().catch(() => undefined)
      }
      return deleted
    },

    async *list(prefix) {
      const { sql, rows } = await ready()
      // Keys are in the order of their bytes, so those with the prefix stand together, beginning at the prefix itself.
      let from = sql`credential_key >= ${bind(prefix)}`
      for (;;) {
        const page = await run(
          sql<{ k: string | Uint8Array }>`select credential_key as k from ${rows}
            where ${from} and deleted_at is null order by credential_key limit ${sql.lit(LIST_ROWS)}`,
        )
        let last: string | undefined
        for (const { k } of page.rows) {
          last = typeof k === 'string' ? k : Buffer.from(k).toString()
          if (!last.startsWith(prefix)) return
          yield last
        }
        if (last === undefined || page.rows.length < LIST_ROWS) return
        from = sql`credential_key > ${bind(last)}`
      }
    },

    async lock(key, ttlMs): Promise<CredentialLock | undefined> {
      const bound = bind(key)
      const { sql, now, leases } = await ready()
      const owner = randomUUID()
      const until = (ms: number) => sql`${now} + ${Math.ceil(ms * 1000)}`
      const mine = sql`lease_key = ${bound} and owner = ${owner}`
      const taken =
        (await insert(
          sql`insert into ${leases} (lease_key, owner, expires_at) values (${bound}, ${owner}, ${until(ttlMs)})`,
          'owner',
        )) ||
        (await changed(sql`update ${leases} set owner = ${owner}, expires_at = ${until(ttlMs)}
          where lease_key = ${bound} and expires_at <= ${now}`))
      if (!taken) return undefined
      return {
        renew: (ms) => changed(sql`update ${leases} set expires_at = ${until(ms)} where ${mine}`),
        release: async () => void (await run(sql`delete from ${leases} where ${mine}`)),
      }
    },

    async close() {
      if (closeDb) closed ??= db.destroy()
      await closed
    },
  }
}
