/**
 * Sessions in the database, for `@fastify/session`, whose own store forgets everything at a restart and leaks memory. There
 * are no tokens in a session, only a link to the stored credentials.
 */
import type { SessionStore } from '@fastify/session'
import type { Session } from 'fastify'
import type { Kysely } from 'kysely'
import type { Tables } from './database.js'

const LIFETIME = 30 * 86_400_000

export function sessionStore(db: Kysely<Tables>): SessionStore {
  const answer = <T>(work: Promise<T>, callback: (error: unknown, result?: T) => void) => {
    work.then(
      (result) => callback(null, result),
      (error: unknown) => callback(error),
    )
  }
  return {
    get(id, callback) {
      const row = db.selectFrom('sessions').select('data').where('id', '=', id).where('updated_at', '>', oldest())
      answer(
        row.executeTakeFirst().then((found) => (found ? (JSON.parse(found.data) as Session) : null)),
        callback,
      )
    },
    set(id, session, callback) {
      const values = { data: JSON.stringify(session), updated_at: Date.now() }
      const write = db.insertInto('sessions').values({ id, ...values })
      answer(write.onConflict((conflict) => conflict.column('id').doUpdateSet(values)).execute(), callback)
    },
    destroy(id, callback) {
      // A good moment to forget the sessions that nobody came back to.
      const remove = db.deleteFrom('sessions')
      answer(remove.where((row) => row.or([row('id', '=', id), row('updated_at', '<=', oldest())])).execute(), callback)
    },
  }
}

function oldest(): number {
  return Date.now() - LIFETIME
}
