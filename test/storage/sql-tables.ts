import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { afterAll, beforeAll, type describe, expect, test } from 'vitest'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'

// biome-ignore lint/suspicious/noExplicitAny: the tables are made by the store
export type Db = Kysely<any>

/** Moves everything into the past, which is how the clock of a database is moved forward. */
export async function age(db: Db, ms: number, table = 'oauth2_credentials'): Promise<void> {
  await sql`update ${sql.table(table)}
    set updated_at = updated_at - ${ms * 1000}, deleted_at = deleted_at - ${ms * 1000}`.execute(db)
  await sql`update ${sql.table(`${table}_leases`)} set expires_at = expires_at - ${ms * 1000}`.execute(db)
  // Fresh rows begin at the current microsecond, and SQLite counts milliseconds.
  await sleep(5)
}

interface Server {
  url: string
  describe: typeof describe | typeof describe.skip
}

/**
 * Everything that a database server has to pass, with several pools of connections.
 *
 * @param size how many connections a pool has
 */
export function testServer(name: string, { describe }: Server, connect: (size: number) => Db): void {
  // Of this run, so that others may use the same database.
  const table = `test_${randomBytes(6).toString('hex')}`

  describe(`sqlStore on ${name}`, () => {
    let first: Db
    let second: Db
    beforeAll(async () => {
      ;[first, second] = [connect(10), connect(10)]
      // Several processes may start at once.
      await Promise.all([first, second, first, second].map((db) => createCredentialTables(db, { table })))
    })
    afterAll(async () => {
      for (const unwanted of [table, `${table}_leases`]) await first.schema.dropTable(unwanted).execute()
      await Promise.all([first.destroy(), second.destroy()])
    })

    credentialStoreContract({
      test,
      async create() {
        const own = connect(1)
        return {
          store: sqlStore({ db: own, table, closeDb: true }),
          second: sqlStore({ db: second, table }),
          advance: (ms) => age(first, ms, table),
          cleanup: () => own.destroy(),
        }
      },
    })

    test('several connections racing lose no increment', async () => {
      const stores = Array.from({ length: 8 }, (_, index) => sqlStore({ db: index % 2 ? first : second, table }))
      await stores[0]!.put('race', '0')
      await Promise.all(
        stores.map(async (store) => {
          for (let done = 0; done < 25; ) {
            const stored = await store.get('race')
            if (await store.put('race', String(Number(stored!.value) + 1), stored!.generation)) done++
          }
        }),
      )
      expect((await stores[0]!.get('race'))?.value).toBe('200')
    })

    test('first writers that wait for one who gives up are no victims of a deadlock', async () => {
      const stores = [first, second, second].map((db) => sqlStore({ db, table }))
      const writes: Promise<number | false>[] = []
      const giveUp = first.transaction().execute(async (transaction) => {
        await sql`insert into ${sql.table(table)} (credential_key, value, generation, updated_at)
          values ('deadlock', 'v', 1, 1)`.execute(transaction)
        for (const store of stores) writes.push(store.put('deadlock', 'v', 0))
        // Until they wait for the lock on the row. MySQL then gives a shared one to all, and each wants it for itself.
        await sleep(300)
        throw new Error('given up')
      })
      await expect(giveUp).rejects.toThrow('given up')
      expect((await Promise.all(writes)).filter(Boolean)).toHaveLength(1)
    })

    test('generations grow through deletes and sweeps of several connections', async () => {
      const stores = [sqlStore({ db: first, table }), sqlStore({ db: second, table })] as const
      const all: number[] = []
      await Promise.all(
        [0, 1, 2, 3, 4, 5].map(async (writer) => {
          const store = stores[writer % 2 ? 0 : 1]
          for (let round = 0; round < 15; round++) {
            const generation = await store.put('sweep', `${writer}`, 0)
            if (generation !== false) all.push(generation)
            await store.delete('sweep')
            if (writer === 0) await age(first, 3_700_000, table)
            if (writer === 1) await store.sweep()
          }
        }),
      )
      expect(new Set(all).size).toBe(all.length)
    })

    test('sweep removes tombstones and leases after an hour, nothing else', async () => {
      const store = sqlStore({ db: first, table })
      while ((await store.sweep()) > 0);
      for (const key of ['live', 'dead']) await store.put(key, 'v')
      await store.delete('dead')
      await store.lock('forgotten', 1000)
      expect(await store.sweep()).toBe(0)
      await age(first, 3_700_000, table)
      expect(await store.sweep()).toBeGreaterThanOrEqual(1)
      expect((await store.get('live'))?.value).toBe('v')
      const { rows } = await sql`select lease_key from ${sql.table(`${table}_leases`)}`.execute(first)
      expect(rows).toEqual([])
    })
  })
}
