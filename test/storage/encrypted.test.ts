import { describe, expect, expectTypeOf, test } from 'vitest'
import { KeyRing } from '../../src/keys/key-ring.js'
import { encrypted } from '../../src/storage/encrypted.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import type { CredentialStore } from '../../src/storage/storage.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'
import { startApp } from '../helpers/app.js'

const [OLD, NEW] = ['o'.repeat(32), 'n'.repeat(32)] as const

credentialStoreContract({
  test,
  describe: (name, fn) => describe(`encrypted memoryStore: ${name}`, fn),
  async create() {
    let now = 0
    const map = new Map<string, MemoryEntry>()
    const inner = () => memoryStore({ map, clock: () => now })
    return {
      // As in the middle of replacing a key.
      store: encrypted(inner(), [OLD, NEW]),
      second: encrypted(inner(), [NEW, OLD]),
      advance(ms) {
        now += ms
      },
      async cleanup() {},
    }
  },
})

describe('encrypted', () => {
  test('the store never sees a value, and no two are alike', async () => {
    const inner = memoryStore()
    const store = encrypted(inner, OLD)
    await store.put('a', 'secret')
    const first = await inner.get('a')
    await store.put('a', 'secret')
    const second = await inner.get('a')
    expect(first?.value).not.toContain('secret')
    expect(Buffer.from(String(first?.value.split('.')[2]), 'base64url').toString('latin1')).not.toContain('secret')
    expect(first?.value).not.toBe(second?.value)
    expect(await store.get('a')).toEqual({ ...second, value: 'secret', age: expect.any(Number) })
  })

  test('a value that was copied, altered, sealed with another key or never sealed is unreadable and kept', async () => {
    const inner = memoryStore()
    const store = encrypted(inner, OLD)
    await store.put('alice', 'hers')
    const sealed = String((await inner.get('alice'))?.value)
    await encrypted(inner, NEW).put('other key', 'v')
    await inner.put('bob', sealed)
    await store.put('altered', 'v')
    await inner.put('altered', `${(await inner.get('altered'))?.value.slice(0, -4)}AAAA`)
    await inner.put('plain', '{"access_token":"t"}')
    await inner.put('later', await new KeyRing([OLD]).seal('credentials', ['later'], 'v', { v: 2 }))
    for (const [key, reason] of [
      ['bob', 'misplaced'],
      ['altered', 'damaged'],
      ['plain', 'damaged'],
      ['other key', 'unknown_key'],
      ['later', 'newer_version'],
    ] as const) {
      const before = await inner.get(key)
      await expect(store.get(key)).rejects.toMatchObject({
        code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE',
        reason,
        ...(reason === 'unknown_key' && { message: expect.stringContaining(String(new KeyRing([NEW]).kids)) }),
      })
      expect((await inner.get(key))?.value).toBe(before?.value)
    }
    expect((await store.get('alice'))?.value).toBe('hers')
  })

  test('keys are replaced one after the other', async () => {
    const inner = memoryStore()
    await encrypted(inner, OLD).put('k', 'v')
    const both = encrypted(inner, [NEW, OLD])
    const stored = await both.get('k')
    expect(stored?.value).toBe('v')
    await both.put('k', 'v', stored?.generation)
    expect((await encrypted(inner, [NEW]).get('k'))?.value).toBe('v')
    await expect(encrypted(inner, OLD).get('k')).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE' })
  })

  test('has what the store has, and says what it is', async () => {
    const full = encrypted(memoryStore(), Buffer.alloc(32, 7))
    expect(full).toMatchObject({ encrypted: true, shared: false })
    expect(Object.keys(full).sort()).toEqual(['delete', 'encrypted', 'get', 'list', 'lock', 'name', 'put', 'shared'])
    expectTypeOf(full.lock).not.toBeUndefined()

    class Bare implements CredentialStore {
      readonly #inner = memoryStore()
      get = this.#inner.get
      put = this.#inner.put
      delete = this.#inner.delete
      #closed = 0
      async close() {
        this.#closed++
        return expect(this.#closed).toBe(1)
      }
    }
    const bare = encrypted(new Bare(), OLD)
    expect(Object.keys(bare).sort()).toEqual(['close', 'delete', 'encrypted', 'get', 'put'])
    await bare.close()
    expectTypeOf(encrypted(memoryStore() as CredentialStore, OLD)).toExtend<CredentialStore>()
  })

  test('refuses short keys, no keys, and a second layer', () => {
    for (const keys of ['short', [], [OLD, 'short'], new Uint8Array(31)]) {
      expect(() => encrypted(memoryStore(), keys)).toThrow(
        expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
      )
    }
    expect(() => encrypted(encrypted(memoryStore(), OLD), NEW)).toThrow(/encrypted already/)
  })

  test('refuses to be put under the plugin, which seals by itself, and says what to write instead', async () => {
    await expect(
      startApp({ storage: encrypted(memoryStore(), OLD), client: { encryptionKeys: NEW } }),
    ).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringMatching(/"storage".*Pass the store inside of it.*"encryptionKeys"/),
    })
  })
})
