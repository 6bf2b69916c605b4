/** Stores with many users in them, filled past the store's own methods, which write one record at a time. */
import { sql } from 'kysely'
import { createCredentialTables } from '../../dist/storage/sql.js'
import { freshName, postgres, redis, removeAll, sqlite } from './credential-stores.mjs'
import { BATCH, sealedRecords } from './sealed.mjs'
import { checkStopped } from './stop.mjs'

/** @param after statements that a database of some age would have seen */
async function sqlWriter({ db }, table, after) {
  await createCredentialTables(db, { table })
  return {
    async write(records) {
      const rows = records.map(({ key, value }) => sql`(${key}, ${value}, 1, ${Date.now() * 1_000})`)
      await sql`insert into ${sql.table(table)} (credential_key, value, generation, updated_at)
        values ${sql.join(rows)}`.execute(db)
    },
    async end() {
      for (const statement of after) await sql.raw(statement).execute(db)
      await db.destroy()
    },
  }
}

const writers = {
  postgres: async (name) => sqlWriter(await postgres(), name, [`vacuum analyze ${name}`]),
  sqlite: async (name) => sqlWriter(await sqlite(name), name, ['analyze', 'pragma wal_checkpoint(truncate)']),
  async redis(name) {
    const client = await redis()
    return {
      async write(records) {
        const pipeline = client.pipeline()
        for (const { key, value } of records) {
          const fields = { value, generation: 1, written: Date.now() * 1_000, by: '-' }
          pipeline.hset(`${name}:record:{/${key}}`, fields)
        }
        await pipeline.exec()
      },
      end: () => client.quit(),
    }
  },
}

/**
 * Every user is sealed once, for all the places that have that many.
 *
 * @param places `{ store, users }` each
 * @returns the same with `name`, and `remove()` that takes all of them away
 */
export async function fill(issuer, places) {
  const named = places.map((place) => ({ ...place, name: freshName() }))
  const remove = async () => {
    for (const { name } of named) await removeAll(name)
  }
  try {
    const open = []
    for (const place of named) open.push({ ...place, ...(await writers[place.store](place.name)) })
    const began = performance.now()
    let done = 0
    for await (const batch of sealedRecords(issuer, Math.max(...places.map(({ users }) => users)))) {
      checkStopped()
      await Promise.all(open.filter(({ users }) => users > done).map(({ write }) => write(batch)))
      done += BATCH
      if (done % 50_000 === 0) process.stderr.write(`fill: ${done} users, ${seconds(began)} s\n`)
    }
    for (const { end } of open) await end()
    process.stderr.write(`fill: ${done} users in ${named.length} places, ${seconds(began)} s\n`)
    return { places: named, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

const seconds = (began) => ((performance.now() - began) / 1_000).toFixed(1)
