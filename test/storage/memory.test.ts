import { describe, expect, test } from 'vitest'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import type { CredentialStore } from '../../src/storage/storage.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'

const HOUR = 3_600_000

function manual() {
  let now = 0
  return {
    clock: () => now,
    advance: (ms: number) => {
      now += ms
    },
  }
}

credentialStoreContract({
  test,
  describe: (name, fn) => describe(`memoryStore: ${name}`, fn),
  async create() {
    const { clock, advance } = manual()
    const map = new Map<string, MemoryEntry>()
    return {
      store: memoryStore({ map, clock }),
      second: memoryStore({ map, clock }),
      advance,
      async cleanup() {},
    }
  },
})

describe('the contract asks nothing of a store that it does not have', () => {
  credentialStoreContract({
    test,
    async create() {
      const { get, put, delete: remove } = memoryStore()
      const store: CredentialStore = {
        async get(key) {
          const stored = await get(key)
          return stored && { value: stored.value, generation: stored.generation }
        },
        put,
        delete: remove,
      }
      return { store, async cleanup() {} }
    },
  })
})

describe('memoryStore', () => {
  test('is not shared', () => {
    expect(memoryStore().shared).toBe(false)
  })

  test('stores of their own do not see each other', async () => {
    const one = memoryStore()
    await one.put('k', 'v')
    expect(await memoryStore().get('k')).toBeUndefined()
  })

  test('keeps tombstones for an hour, then removes them on writes, a few at a time', async () => {
    const { clock, advance } = manual()
    const map = new Map<string, MemoryEntry>()
    const store = memoryStore({ map, clock })
    for (let index = 0; index < 100; index++) {
      await store.put(`k${index}`, 'v')
      await store.delete(`k${index}`)
    }
    advance(HOUR - 1)
    await store.put('live', 'v')
    expect(map.size).toBe(101)
    advance(1)
    await store.put('live', 'v')
    expect(map.size).toBe(97)
    for (let index = 0; index < 24; index++) await store.put('live', 'v')
    expect([...map.keys()]).toEqual(['live'])
  })

  test('a tombstone that came back to life is not removed', async () => {
    const { clock, advance } = manual()
    const store = memoryStore({ clock })
    await store.put('k', 'v')
    await store.delete('k')
    await store.put('k', 'again', 0)
    advance(2 * HOUR)
    await store.put('other', 'v')
    expect((await store.get('k'))?.value).toBe('again')
  })

  test('a map that is handed over keeps its values, its tombstones and growing generations', async () => {
    const first = new Map<string, MemoryEntry>()
    const before = memoryStore({ map: first })
    const kept = await before.put('kept', 'v', 0)
    const gone = await before.put('gone', 'v', 0)
    await before.delete('gone')

    // A copy, as if it had been saved by a process that is no more.
    const after = memoryStore({ map: new Map(structuredClone([...first])) })
    expect(await after.get('kept')).toMatchObject({ value: 'v', generation: kept })
    expect(await after.get('gone')).toBeUndefined()
    expect(await after.put('gone', 'late', Number(gone))).toBe(false)
    expect(await after.put('gone', 'again', 0)).toBeGreaterThan(Number(gone) + 1)
  })

  test('a map from the future pushes the counter above everything in it', async () => {
    const generation = Number.MAX_SAFE_INTEGER - 100
    const store = memoryStore({ map: new Map([['old', { value: 'v', generation, at: 0 }]]) })
    expect(await store.put('new', 'v', 0)).toBeGreaterThan(generation)
  })

  test('an expired lease is free, however many are held before it', async () => {
    const { clock, advance } = manual()
    const store = memoryStore({ clock })
    for (let index = 0; index < 8; index++) await store.lock(`held ${index}`, 2000)
    for (let index = 0; index < 8; index++) await store.lock(`left ${index}`, 1000)
    advance(1000)
    for (let index = 0; index < 8; index++) {
      expect(await store.lock(`held ${index}`, 1000)).toBeUndefined()
      expect(await store.lock(`left ${index}`, 1000)).toBeDefined()
    }
  })

  test('an age is never negative', async () => {
    const { clock, advance } = manual()
    const store = memoryStore({ clock })
    await store.put('k', 'v')
    advance(-5000)
    expect((await store.get('k'))?.age).toBe(0)
  })
})
