/**
 * SQLite without anything to compile, for `sqlStore`: one file instead of a server.
 *
 * @module
 */
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { SqliteDatabase, SqliteStatement } from 'kysely'
import { MissingPeerError } from '../errors.js'
import { type AnyKysely, loadKysely } from './sql-dialect.js'

/** Options of {@link openSqlite}. */
export interface OpenSqliteOptions {
  /** The file, created if it is missing; its directory must exist. `:memory:` for a database that ends with `db`. */
  path: string
}

/** How long a statement waits for another process to finish writing. */
const BUSY_MS = 5000

/** What is used of `DatabaseSync` in `node:sqlite`, whose types come and go with the version of `@types/node`. */
interface NodeSqlite {
  DatabaseSync: new (
    path: string,
  ) => {
    prepare(sql: string): {
      all(...params: unknown[]): unknown[]
      run(...params: unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint }
      iterate?(...params: unknown[]): IterableIterator<unknown>
      columns?(): unknown[]
    }
    close(): void
  }
}

/** `node:sqlite` in the shape of `better-sqlite3`, which is what Kysely talks to. */
function nodeDatabase({ DatabaseSync }: NodeSqlite, path: string): SqliteDatabase {
  const database = new DatabaseSync(path)
  let closed = false
  return {
    prepare(sql): SqliteStatement {
      const statement = database.prepare(sql)
      return {
        // Before Node 22.16 a statement cannot be asked whether it returns rows.
        reader: statement.columns
          ? statement.columns().length > 0
          : /^\s*(select|with|pragma|explain|values)\b|\breturning\b/i.test(sql),
        all: (params) => statement.all(...params),
        run: (params) => statement.run(...params),
        iterate: (params) => statement.iterate?.(...params) ?? statement.all(...params)[Symbol.iterator](),
      }
    },
    close() {
      if (!closed) database.close()
      closed = true
    },
  }
}

async function openDatabase(path: string): Promise<SqliteDatabase> {
  // Not import('node:sqlite'): bundlers and Node 20 stumble over it.
  const builtin = process.getBuiltinModule('node:sqlite') as NodeSqlite | undefined
  if (builtin) return nodeDatabase(builtin, path)
  try {
    const { default: Database } = await import('libsql')
    return new Database(path)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new MissingPeerError('libsql', 'libsql', { cause })
  }
}

/**
 * Opens a SQLite file with what is there: `node:sqlite` (Node 22.5 and later), else the package `libsql`.
 *
 * A new file can be read by its owner only (mode 0600), and so can the `-wal` and `-shm` files beside it, which take
 * after it; the mode of an existing file is left alone. Readers and one writer work at the same time (WAL), also from
 * several processes on one machine; a writer waits 5 s for another one. Both drivers work synchronously. Put nothing
 * but small statements through them. Close it with `db.destroy()`.
 *
 * @throws MissingPeerError without Kysely, and without `libsql` where there is no `node:sqlite`; the system's error
 * when the file cannot be created or opened.
 *
 * @example
 * ```ts
 * import { openSqlite } from 'fastify-oauth2client/storage/sqlite'
 *
 * const db = await openSqlite({ path: 'credentials.sqlite' })
 * await db.destroy()
 * ```
 */
export async function openSqlite({ path }: OpenSqliteOptions): Promise<AnyKysely> {
  const { Kysely, SqliteDialect } = await loadKysely()
  // Absolute, because libsql takes names that begin like an address for servers.
  const file = path === ':memory:' ? path : resolve(path)
  if (file !== ':memory:') {
    // SQLite would create it with the mode that the umask leaves. The others are the mode of this one.
    const handle = await open(file, 'a', 0o600)
    await handle.close()
  }
  const database = await openDatabase(file)
  try {
    database.prepare(`pragma busy_timeout = ${BUSY_MS}`).all([])
    database.prepare('pragma journal_mode = wal').all([])
  } catch (error) {
    database.close()
    throw error
  }
  return new Kysely({ dialect: new SqliteDialect({ database }) })
}
