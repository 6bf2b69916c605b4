import { describe, expect, test } from 'vitest'
import { KeyRegistry } from '../../src/credentials/upkeep/key-registry.js'
import { resealIfNeeded } from '../../src/credentials/upkeep/reseal.js'
import { RecordSealer } from '../../src/credentials/vault.js'
import { KeyRing, kidOf } from '../../src/keys/key-ring.js'
import { memoryStore } from '../../src/storage/memory.js'
import type { CredentialStore } from '../../src/storage/storage.js'

const [OLD, NEW] = ['o'.repeat(32), 'n'.repeat(32)] as const
const [old, young] = [OLD, NEW].map((key) => new KeyRing([key]).kids[0]) as [string, string]
const issuer = 'https://issuer.example'
const alice = 'user/oauth2/alice'

const sealerOf = (...keys: string[]) => new RecordSealer(new KeyRing(keys), issuer, 'client')
/** With the attempt of a refresh that is under way, and members of a later minor version. */
const text = JSON.stringify({
  v: 1,
  issuer,
  clientId: 'client',
  later: ['kept'],
  accounts: [
    {
      id: 'a',
      identified: true,
      tokens: { accessToken: 'at', tokenType: 'Bearer', obtainedAt: 1, refreshToken: 'rt', scopes: [], later: 1 },
      requested: [],
      declined: [],
      attempt: { id: 'attempt', hash: 'hash' },
    },
  ],
})

async function stored(value: string, sealer = sealerOf(OLD)) {
  const store = memoryStore()
  await store.put(alice, await sealer.sealText(alice, value))
  return store
}
const sealedIn = async (store: CredentialStore) => (await store.get(alice))?.value as string

describe('a record that was sealed with another key than the first', () => {
  test('is sealed again, with every character of what it says', async () => {
    const store = await stored(text)
    const both = sealerOf(NEW, OLD)
    expect(await resealIfNeeded(store, both, alice)).toEqual({ result: 'resealed', kid: old })
    expect(kidOf(await sealedIn(store))).toBe(young)
    expect(await sealerOf(NEW).openText(alice, await sealedIn(store))).toBe(text)
    expect((await sealerOf(NEW).open(alice, await sealedIn(store))).accounts[0]?.attempt?.id).toBe('attempt')
    const before = await store.get(alice)
    expect(await resealIfNeeded(store, both, alice)).toEqual({ result: 'current', kid: young })
    expect(await store.get(alice)).toMatchObject({ ...before, age: expect.any(Number) })
  })

  test('of a later version too: it is no more than text, and stays readable for that version', async () => {
    const next = '{ "v": 2,  "future": "\u00e4\\u00e4 1e3", "n": 1.0 }'
    const store = await stored(next)
    expect(await resealIfNeeded(store, sealerOf(NEW, OLD), alice)).toEqual({ result: 'resealed', kid: old })
    expect(await sealerOf(NEW).openText(alice, await sealedIn(store))).toBe(next)
    const sealed = await sealedIn(store)
    expect(() => sealerOf(NEW).open(alice, sealed)).toThrow(expect.objectContaining({ reason: 'newer_version' }))
  })

  test('makes way for whoever writes meanwhile', async () => {
    const store = await stored(text)
    const raced: CredentialStore = {
      ...store,
      async get(key) {
        const found = await store.get(key)
        await store.put(key, await sealerOf(OLD).sealText(key, 'newer'))
        return found
      },
    }
    expect(await resealIfNeeded(raced, sealerOf(NEW, OLD), alice)).toEqual({ result: 'lost_race', kid: old })
    expect(await sealerOf(OLD).openText(alice, await sealedIn(store))).toBe('newer')
  })

  test('is not brought back when it is deleted meanwhile', async () => {
    const store = await stored(text)
    const raced: CredentialStore = {
      ...store,
      async get(key) {
        const found = await store.get(key)
        await store.delete(key)
        return found
      },
    }
    expect(await resealIfNeeded(raced, sealerOf(NEW, OLD), alice)).toEqual({ result: 'lost_race', kid: old })
    expect(await store.get(alice)).toBeUndefined()
    expect(await resealIfNeeded(store, sealerOf(NEW, OLD), alice)).toEqual({ result: 'gone' })
  })

  test('has the new key registered first, and only if there is something to seal', async () => {
    const store = await stored(text, sealerOf(NEW))
    const registry = new KeyRegistry({ store, name: 'oauth2', issuer, clientId: 'client', clock: Date.now })
    const done: string[] = []
    const registrar = {
      async register(kid: string) {
        done.push(kid)
        await registry.register(kid)
      },
    }
    await resealIfNeeded(store, sealerOf(NEW, OLD), alice, registrar)
    expect(done).toEqual([])
    await resealIfNeeded(store, sealerOf(OLD, NEW), alice, registrar)
    expect(done).toEqual([old])
  })
})

describe('a record that cannot be opened is left as it is', () => {
  test.each([
    ['its key is not there', () => stored(text), 'unknown_key', old],
    [
      'it was copied',
      async () => {
        const store = memoryStore()
        await store.put(alice, await sealerOf(NEW).sealText('user/oauth2/bob', text))
        return store
      },
      'misplaced',
      young,
    ],
    [
      'it is damaged',
      async () => {
        const store = await stored(text, sealerOf(NEW))
        await store.put(alice, `${(await sealedIn(store)).slice(0, -4)}AAAA`)
        return store
      },
      'damaged',
      young,
    ],
    [
      'it was never sealed',
      async () => {
        const store = memoryStore()
        await store.put(alice, text)
        return store
      },
      'damaged',
      undefined,
    ],
  ] as const)('%s', async (_, make, reason, kid) => {
    const store = await make()
    const before = await store.get(alice)
    expect(await resealIfNeeded(store, sealerOf(NEW), alice)).toEqual({ result: 'unreadable', reason, kid })
    expect(await store.get(alice)).toMatchObject({ value: before?.value, generation: before?.generation })
  })

  test('it belongs to another client', async () => {
    const store = memoryStore()
    const other = new RecordSealer(new KeyRing([OLD]), issuer, 'another client')
    await store.put(alice, await other.sealText(alice, text))
    expect(await resealIfNeeded(store, sealerOf(NEW, OLD), alice)).toEqual({ result: 'foreign', kid: old })
  })

  test('a store that cannot be reached is an error, not an answer', async () => {
    const store: CredentialStore = { ...memoryStore(), get: () => Promise.reject(new Error('down')) }
    await expect(resealIfNeeded(store, sealerOf(NEW), alice)).rejects.toMatchObject({
      code: 'FST_OAUTH2_STORE_UNAVAILABLE',
    })
  })
})
