/** One SQLite file for everything: the plugin's credentials, and the app's own sessions and notes. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createCredentialTables } from 'fastify-oauth2client/storage/sql'
import { openSqlite } from 'fastify-oauth2client/storage/sqlite'
import type { Generated, Kysely } from 'kysely'

/** The tables of the app; those of the plugin are its own business. */
export interface Tables {
  sessions: { id: string; data: string; updated_at: number }
  notes: { id: Generated<number>; user_id: string; text: string }
}

export async function openDatabase(dataDir: string): Promise<Kysely<Tables>> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const db: Kysely<Tables> = await openSqlite({ path: join(dataDir, 'example-app.sqlite') })
  await createCredentialTables(db)
  await db.schema
    .createTable('sessions')
    .ifNotExists()
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('data', 'text', (column) => column.notNull())
    .addColumn('updated_at', 'integer', (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('notes')
    .ifNotExists()
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('user_id', 'text', (column) => column.notNull())
    .addColumn('text', 'text', (column) => column.notNull())
    .execute()
  return db
}
