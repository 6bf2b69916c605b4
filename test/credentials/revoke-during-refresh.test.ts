/**
 * Revocation while refreshes are under way, in two apps over one store. Which operation of the store and which answer of the
 * provider comes when is chosen by fast-check, which prints what it chose, and its seed, when the property fails.
 * `INTERLEAVINGS` sets how many are tried with each store.
 */
import fc, { type Scheduler } from 'fast-check'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { CredentialStore } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { openStore } from '../helpers/shared-store.js'
import { file, type SharedStore, serverStores, sqlite } from '../helpers/shared-stores.js'
import { StrictProvider } from '../helpers/strict-provider.js'
import { inTurn, interleave, order } from '../helpers/turns.js'
import { startUserApp, type UserApp } from '../helpers/user-app.js'

/** Turn by turn, a database has to flush each write to the disk before the next one: there, a thousand take a minute. */
const INTERLEAVINGS: Readonly<Record<string, number>> = {
  memory: 1_000,
  SQLite: 300,
  Redis: 300,
  PostgreSQL: 100,
  'MySQL or MariaDB': 100,
  'a file': 100,
}

// Waiting for others takes a turn instead of time.
vi.mock(import('node:timers/promises'), async (original) =>
  (await import('../helpers/turns.js')).withoutTime(await original()),
)

const places: (Omit<SharedStore, 'create'> & {
  open(): Promise<{ store: CredentialStore; close(): Promise<void> }>
})[] = [
  ...[...(await serverStores()), sqlite, file].map(({ create, ...shared }) => ({
    ...shared,
    async open() {
      const { task, cleanup } = await create()
      const opened = await openStore(task)
      await opened.prepare()
      const close = async () => {
        await opened.remove()
        await opened.close()
        await cleanup()
      }
      return { store: opened.store, close }
    },
  })),
]

places.unshift({
  name: 'memory',
  describe: file.describe,
  open: async () => ({ store: memoryStore(), close: async () => {} }),
})

for (const { name, describe, open } of places) {
  describe(name, () => {
    const provider = new StrictProvider()
    let place: Awaited<ReturnType<typeof open>>
    let apps: UserApp[]
    let users = 0

    beforeAll(async () => {
      place = await open()
      const { store: inner } = place
      apps = await Promise.all(
        ['a', 'b'].map((app) => {
          const store: CredentialStore = {
            get: (key) => inTurn(`${app} get`, () => inner.get(key)),
            put: (key, value, expected) => inTurn(`${app} put`, () => inner.put(key, value, expected)),
            delete: (key, expected) => inTurn(`${app} delete`, () => inner.delete(key, expected)),
          }
          return startUserApp(provider.options, store, {
            fetch: (input, init) => inTurn(`${app} fetch`, () => provider.fetch(input, init)),
          })
        }),
      )
    })
    afterAll(async () => {
      await Promise.all(apps.map(({ app }) => app.close()))
      await place.close()
    })

    async function interleaved(
      scheduler: Scheduler,
      operations: readonly (readonly [kind: 'request' | 'revoke', app: number])[],
    ): Promise<void> {
      users += 1
      const user = `user-${users}`
      const family = provider.authorize(user)
      await apps[0]!.adopt(family)
      const sent = provider.received.length

      const outcomes = await interleave<unknown>(
        scheduler,
        operations.map(([kind, index]) => async () => {
          const { app, request } = apps[index] as UserApp
          if (kind === 'request') return (await request(user)).status
          return (await (await app.oauth2.user(user)).revoke()).remote
        }),
      )

      for (const [index, outcome] of outcomes.entries()) {
        const possible = operations[index]?.[0] === 'request' ? [200, 401] : ['revoked', 'unsupported']
        expect(possible).toContain(outcome)
      }
      // No refresh token was sent twice, and none of those that were issued is alive.
      const tokens = provider.received.slice(sent)
      expect(new Set(tokens).size).toBe(tokens.length)
      expect(family.end).toBe('revoked')
      for (const { app, request } of apps) {
        expect((await app.oauth2.user(user)).accounts()).toEqual([])
        expect(await request(user)).toMatchObject({ status: 401 })
      }
      expect(await place.store.get(`user/oauth2/${user}`)).toBeUndefined()
    }

    const operation = fc.tuple(fc.constantFrom('request' as const, 'revoke' as const), fc.constantFrom(0, 1))
    const operations = fc
      .array(operation, { maxLength: 3 })
      .chain((more) =>
        fc
          .tuple(fc.constantFrom(0, 1), fc.constantFrom(0, 1))
          .map(([r, v]) => [['request', r] as const, ['revoke', v] as const, ...more]),
      )

    const numRuns = Number(process.env.INTERLEAVINGS ?? INTERLEAVINGS[name])
    test(`nothing is left after a revocation, in ${numRuns} interleavings`, { timeout: 180_000 }, async () => {
      await fc.assert(fc.asyncProperty(order(), operations, interleaved), { numRuns })
    })
  })
}
