import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CredentialStore } from '../storage/storage.js'

/** One store under test, made anew for each case. See {@link credentialStoreContract}. */
export interface CredentialStoreSubject {
  /** The store that is looked at. */
  store: CredentialStore
  /** Another handle on the same data, such as another connection. Left out: `store` plays both parts. */
  second?: CredentialStore
  /** Moves the store's clock forward by `ms` milliseconds, if it can be moved. */
  advance?(ms: number): void | Promise<void>
  /** Called after each case, also when it failed, and also when the stores are closed already. */
  cleanup(): Promise<void>
}

/** Options of {@link credentialStoreContract}. */
export interface CredentialStoreContractOptions {
  /** The runner's function that declares a test, such as `test` of `node:test`, Vitest or Jest. */
  test(name: string, fn: () => Promise<void>): void
  /** Makes a store. It may hold other keys: each case uses keys with a random beginning. */
  create(): Promise<CredentialStoreSubject>
  /** The runner's function that declares a group of tests. Default: the tests are declared without a group. */
  describe?(name: string, fn: () => void): void
}

/** What a case gets: the subject with every part filled in, and a beginning for its keys that nobody else uses. */
interface Bench {
  store: CredentialStore
  second: CredentialStore
  prefix: string
  advance?(ms: number): void | Promise<void>
}

/** Keys that sloppy comparisons, patterns or quoting would mix up. Each is one of its own. */
const ODD_KEYS = [
  ...['ann', 'Ann', 'ANN', 'ann ', ' ann', 'ann  ', 'änn', 'a\u0308nn', 'ännn', 'ａｎｎ', 'strasse', 'straße'],
  ...['%', '%%', '_', '__', '*', '?', '[', '[a-z]', '\\', '\\%', '/', '//', '.', '..', ':', 'a:b', 'a/b', '#', '$&'],
  ...["'", '"', '`', "';--", '{}', '{0}', '\t', '\n', '\r\n', '0', '00', '1', '1.0', 'null', 'undefined', '__proto__'],
  ...['日本語', 'يوسف', '👩‍👩‍👧', '👩', 'u', 'us', 'use', 'user', 'user/', 'user/1', 'user/10', 'user/1/'],
  ...[`${'x'.repeat(499)}a`, `${'x'.repeat(499)}b`, 'x'.repeat(499), `${'é'.repeat(499)}e`, '👍'.repeat(250)],
]

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const key of keys) found.push(key)
  return found
}

function written(generation: number | false): number {
  assert.equal(typeof generation, 'number', 'put should have written')
  assert.ok(Number.isSafeInteger(generation) && Number(generation) > 0, `${generation} is no positive safe integer`)
  return Number(generation)
}

function basics(run: (name: string, body: (bench: Bench) => Promise<void>) => void): void {
  run('a key that was never written is absent', async ({ store, prefix }) => {
    assert.equal(await store.get(prefix), undefined)
    assert.equal(await store.delete(prefix), false)
    assert.equal(await store.delete(prefix, 1), false)
    assert.equal(await store.put(prefix, 'v', 1), false, 'put over a generation that never was')
    assert.equal(await store.get(prefix), undefined)
  })

  run('what is put can be got, here and through the second handle', async ({ store, second, prefix }) => {
    for (const value of ['one', '', '{"a":"b\\n"}', 'é 日本語 👩‍👩‍👧 \u2028 \\ \' " % ', ' leading and trailing ']) {
      const generation = written(await store.put(prefix, value))
      for (const handle of [store, second]) {
        const stored = await handle.get(prefix)
        assert.equal(stored?.value, value)
        assert.equal(stored.generation, generation)
      }
    }
  })

  run('a value of 1 MB comes back whole', async ({ store, second, prefix }) => {
    const value = randomBytes(786_432).toString('base64')
    await store.put(prefix, value, 0)
    assert.ok((await second.get(prefix))?.value === value, 'the large value was changed')
  })

  run('generations grow with every write and delete', async ({ store, prefix }) => {
    let before = written(await store.put(prefix, 'v', 0))
    for (const how of ['checked', 'unchecked', 'checked']) {
      const after = written(await (how === 'checked' ? store.put(prefix, 'v', before) : store.put(prefix, 'v')))
      assert.ok(after > before, `${after} is not above ${before}`)
      before = after
    }
    assert.equal(await store.delete(prefix), true)
    const after = written(await store.put(prefix, 'v'))
    assert.ok(after > before + 1, 'the delete did not count')
  })

  run('put with 0 writes only where nothing is stored', async ({ store, second, prefix }) => {
    const generation = written(await store.put(prefix, 'first', 0))
    assert.equal(await second.put(prefix, 'second', 0), false)
    const stored = await store.get(prefix)
    assert.equal(stored?.value, 'first')
    assert.equal(stored.generation, generation)
  })

  run('put with a generation writes only over that one', async ({ store, second, prefix }) => {
    const first = written(await store.put(prefix, 'first', 0))
    const next = written(await second.put(prefix, 'second', first))
    assert.equal(await store.put(prefix, 'stale', first), false)
    assert.equal(await store.put(prefix, 'future', next + 1), false)
    assert.equal((await store.get(prefix))?.value, 'second')
  })

  run('put without a generation writes unconditionally', async ({ store, second, prefix }) => {
    await store.put(prefix, 'first')
    await second.put(prefix, 'second')
    assert.equal((await store.get(prefix))?.value, 'second')
    await store.delete(prefix)
    await store.put(prefix, 'third')
    assert.equal((await second.get(prefix))?.value, 'third')
  })

  run('peek, if there is one, is what get resolves to', async ({ store, second, prefix }) => {
    if (!store.peek) return
    assert.equal(store.peek(prefix), undefined)
    await second.put(prefix, 'first')
    const { age: _, ...stored } = (await store.get(prefix)) ?? {}
    const { age: __, ...peeked } = store.peek(prefix) ?? {}
    assert.deepEqual(peeked, stored)
    await second.delete(prefix)
    assert.equal(store.peek(prefix), undefined)
  })

  run('delete with a generation deletes only that one', async ({ store, second, prefix }) => {
    const first = written(await store.put(prefix, 'first', 0))
    const next = written(await store.put(prefix, 'second', first))
    assert.equal(await second.delete(prefix, first), false)
    assert.equal((await store.get(prefix))?.value, 'second')
    assert.equal(await second.delete(prefix, next), true)
    assert.equal(await store.get(prefix), undefined)
    assert.equal(await store.delete(prefix), false, 'deleted twice')
  })

  run('a delete keeps late writers out, a new beginning is allowed', async ({ store, second, prefix }) => {
    const first = written(await store.put(prefix, 'first', 0))
    assert.equal(await second.delete(prefix), true)
    for (const late of [first, first + 1, first + 2]) assert.equal(await store.put(prefix, 'late', late), false)
    assert.equal(await store.get(prefix), undefined)
    const again = written(await store.put(prefix, 'again', 0))
    assert.ok(again > first, 'the new generation is not above the deleted one')
    assert.equal(await second.put(prefix, 'late', first), false)
    assert.equal((await store.get(prefix))?.value, 'again')
  })

  run('generations never repeat, also when tombstones are old', async ({ store, second, prefix, advance }) => {
    let highest = 0
    for (let round = 0; round < 12; round++) {
      for (const handle of [store, second]) {
        const generation = written(await handle.put(prefix, `${round}`, 0))
        assert.ok(generation > highest, `${generation} comes after ${highest}`)
        highest = written(await handle.put(prefix, `${round}+`, generation))
        assert.equal(await store.delete(prefix), true)
      }
      if (!advance || round % 4 !== 3) continue
      await advance(7_200_000)
      // Stores that clear up on the way get the occasion.
      for (let other = 0; other < 70; other++) {
        await store.put(`${prefix}/other`, 'v')
        await store.delete(`${prefix}/other`)
      }
    }
  })

  run('odd keys are kept apart', async ({ store, second, prefix }) => {
    for (const key of ODD_KEYS) written(await store.put(prefix + key, `value of ${key}`, 0))
    for (const key of ODD_KEYS) assert.equal((await second.get(prefix + key))?.value, `value of ${key}`)
    for (const [index, key] of ODD_KEYS.entries()) {
      assert.equal(await store.delete(prefix + key), true)
      const next = ODD_KEYS[index + 1]
      if (next !== undefined) assert.notEqual(await store.get(prefix + next), undefined, `${key} took ${next} with it`)
    }
  })
}

function concurrency(run: (name: string, body: (bench: Bench) => Promise<void>) => void): void {
  run('one of 50 concurrent first writers wins', async ({ store, second, prefix }) => {
    for (const after of ['nothing', 'a delete']) {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, index) => (index % 2 ? store : second).put(prefix, `${index}`, 0)),
      )
      const winners = results.flatMap((result, index) => (result === false ? [] : [index]))
      assert.equal(winners.length, 1, `${winners.length} winners after ${after}`)
      const stored = await store.get(prefix)
      assert.equal(stored?.value, `${winners[0]}`)
      assert.equal(stored.generation, results[winners[0]!])
      await store.delete(prefix)
    }
  })

  run('50 concurrent increments all land', async ({ store, second, prefix }) => {
    await store.put(prefix, '0', 0)
    const increment = async (handle: CredentialStore) => {
      for (;;) {
        const stored = await handle.get(prefix)
        assert.ok(stored)
        if (await handle.put(prefix, `${Number(stored.value) + 1}`, stored.generation)) return
      }
    }
    await Promise.all(Array.from({ length: 50 }, (_, index) => increment(index % 2 ? store : second)))
    assert.equal((await store.get(prefix))?.value, '50')
  })

  run('50 concurrent unconditional writers get a generation each', async ({ store, second, prefix }) => {
    const generations = await Promise.all(
      Array.from({ length: 50 }, (_, index) => (index % 2 ? store : second).put(prefix, `${index}`)),
    )
    assert.equal(new Set(generations.map(written)).size, 50)
    const stored = await store.get(prefix)
    assert.equal(stored?.generation, Math.max(...generations.map(Number)))
    assert.equal(generations[Number(stored.value)], stored.generation, 'value and generation are of different writers')
  })

  run('concurrent writers of different keys do not undo each other', async ({ store, second, prefix }) => {
    const keys = Array.from({ length: 40 }, (_, index) => `${prefix}${index}`)
    for (const key of keys.slice(0, 10)) await store.put(key, 'old', 0)
    await Promise.all(
      keys.map(async (key, index) => {
        const handle = index % 2 ? store : second
        if (index < 10) assert.equal(await handle.delete(key), true)
        else written(await handle.put(key, key, 0))
      }),
    )
    for (const [index, key] of keys.entries()) {
      assert.equal((await store.get(key))?.value, index < 10 ? undefined : key)
    }
  })

  run('of a put and a delete of the same generation exactly one wins', async ({ store, second, prefix }) => {
    for (let round = 0; round < 10; round++) {
      const generation = written(await store.put(prefix, 'old'))
      const [put, deleted] = await Promise.all(
        round % 2
          ? [store.put(prefix, 'new', generation), second.delete(prefix, generation)]
          : [second.delete(prefix, generation), store.put(prefix, 'new', generation)].reverse(),
      )
      assert.equal(deleted, put === false, `put ${put}, delete ${deleted}`)
      assert.equal((await store.get(prefix))?.value, put === false ? undefined : 'new')
    }
  })

  run('a delete is final, whatever a late writer does', async ({ store, second, prefix }) => {
    for (let round = 0; round < 10; round++) {
      const generation = written(await store.put(prefix, 'old'))
      const [, deleted] = await Promise.all([store.put(prefix, 'new', generation), second.delete(prefix)])
      assert.equal(deleted, true)
      assert.equal(await store.get(prefix), undefined)
    }
  })
}

function optional(run: (name: string, body: (bench: Bench) => Promise<void>) => void): void {
  run('age (left out if the store gives none): grows by the store’s clock', async ({ store, prefix, advance }) => {
    const first = written(await store.put(prefix, 'v', 0))
    const young = (await store.get(prefix))?.age
    if (young === undefined) return
    assert.ok(young >= 0 && young < 5000, `${young} ms right after writing`)
    const ms = advance ? 60_000 : 1500
    await (advance ? advance(ms) : sleep(ms))
    const old = (await store.get(prefix))?.age ?? Number.NaN
    // A second either way, for stores that keep seconds.
    assert.ok(old - young > ms - 1001 && old - young < ms + 6000, `${old - young} ms older after ${ms} ms`)
    await store.put(prefix, 'w', first)
    const again = (await store.get(prefix))?.age ?? Number.NaN
    assert.ok(again < 5000, 'writing again does not make it young')
  })

  run('list (left out if the store has none): exactly the live keys with the prefix', async (bench) => {
    const { store, second, prefix } = bench
    if (!store.list) return
    for (const key of ODD_KEYS) await store.put(prefix + key, 'v', 0)
    await store.delete(`${prefix}user/1`)
    const keys = ODD_KEYS.filter((key) => key !== 'user/1')
    for (const start of ['', ...ODD_KEYS.filter((key) => key.length < 10), 'nothing like it']) {
      const expected = keys.filter((key) => key.startsWith(start)).map((key) => prefix + key)
      const found = await all((second.list ?? store.list).call(second.list ? second : store, prefix + start))
      assert.deepEqual(found.sort(), expected.sort(), `keys that start with ${JSON.stringify(start)}`)
    }
  })

  run('list (left out if the store has none): many keys, each once', async ({ store, prefix }) => {
    if (!store.list) return
    const keys = Array.from({ length: 250 }, (_, index) => `${prefix}${index}`)
    for (const key of keys) await store.put(key, 'v', 0)
    assert.deepEqual((await all(store.list(prefix))).sort(), keys.sort())
    for await (const key of store.list(prefix)) {
      assert.ok(key)
      break
    }
  })

  run('lock (left out if the store has none): one holder, per key', async ({ store, second, prefix }) => {
    const lock = await store.lock?.(prefix, 60_000)
    if (!lock) return assert.equal(store.lock, undefined, 'a free key should be lockable')
    assert.equal(await store.lock?.(prefix, 60_000), undefined)
    assert.equal(await second.lock?.(prefix, 60_000), undefined)
    const other = await second.lock?.(`${prefix}/other`, 60_000)
    assert.ok(other, 'another key is not locked')
    assert.equal(await lock.renew(60_000), true)
    await lock.release()
    const next = await second.lock?.(prefix, 60_000)
    assert.ok(next, 'a released key is free')
    await lock.release()
    assert.equal(await lock.renew(60_000), false, 'renewed what somebody else holds')
    assert.equal(await store.lock?.(prefix, 60_000), undefined, 'released what somebody else holds')
    await next.release()
    await other.release()
    assert.equal(await store.get(prefix), undefined, 'a lock is not a value')
  })

  run('lock (left out if the store has none): one of 20 concurrent takers gets it', async (bench) => {
    const { store, second, prefix } = bench
    if (!store.lock || !second.lock) return
    const taken = await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 ? store : second).lock?.(prefix, 60_000)),
    )
    assert.equal(taken.filter(Boolean).length, 1)
  })

  run('lock (left out if the store has none or its clock stands): expires and is taken over', async (bench) => {
    const { store, second, prefix, advance } = bench
    if (!store.lock || !second.lock || !advance) return
    const lock = await store.lock(prefix, 10_000)
    assert.ok(lock)
    await advance(8000)
    assert.equal(await lock.renew(10_000), true)
    await advance(8000)
    assert.equal(await second.lock(prefix, 10_000), undefined, 'renewing did not prolong the lease')
    await advance(3000)
    const next = await second.lock(prefix, 10_000)
    assert.ok(next, 'an expired lease is free')
    assert.equal(await lock.renew(10_000), false)
    await lock.release()
    assert.equal(await store.lock(prefix, 10_000), undefined, 'an expired holder released its successor')
    assert.equal(await next.renew(10_000), true)
  })

  run('close (left out if the store has none): may be called twice', async ({ store }) => {
    await store.close?.()
    await store.close?.()
  })
}

/**
 * Declares the tests that every credential store must pass. They need no test runner of their own: hand in yours.
 *
 * What a store leaves out (`list`, `lock`, `age`, `close`) is not asked of it; the names of those cases say so.
 *
 * @example
 * ```ts
 * import { test } from 'node:test'
 * import { memoryStore } from 'fastify-oauth2client/storage/memory'
 * import { credentialStoreContract } from 'fastify-oauth2client/testing'
 *
 * credentialStoreContract({
 *   test,
 *   async create() {
 *     let now = 0
 *     const store = memoryStore({ clock: () => now })
 *     return {
 *       store,
 *       advance(ms) {
 *         now += ms
 *       },
 *       async cleanup() {},
 *     }
 *   },
 * })
 * ```
 */
export function credentialStoreContract({ test, create, describe }: CredentialStoreContractOptions): void {
  const run = (name: string, body: (bench: Bench) => Promise<void>) =>
    test(name, async () => {
      const subject = await create()
      try {
        const { store, second = store } = subject
        const advance = subject.advance?.bind(subject)
        await body({ store, second, prefix: `${randomBytes(4).toString('hex')}/`, ...(advance && { advance }) })
      } finally {
        await subject.cleanup()
      }
    })
  const declare = () => {
    basics(run)
    concurrency(run)
    optional(run)
  }
  if (describe) describe('credential store contract', declare)
  else declare()
}
