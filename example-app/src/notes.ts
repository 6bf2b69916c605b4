/** The app's own data, kept by the identity of whoever signed in. */
import type { Kysely } from 'kysely'
import type { Tables } from './database.js'

export interface Note {
  readonly id: number
  readonly text: string
}

export const MAX_NOTE = 500

export async function listNotes(db: Kysely<Tables>, userId: string): Promise<Note[]> {
  const own = db.selectFrom('notes').select(['id', 'text']).where('user_id', '=', userId)
  return own.orderBy('id', 'desc').limit(20).execute()
}

export async function addNote(db: Kysely<Tables>, userId: string, text: string): Promise<Note> {
  const row = db.insertInto('notes').values({ user_id: userId, text })
  return row.returning(['id', 'text']).executeTakeFirstOrThrow()
}
