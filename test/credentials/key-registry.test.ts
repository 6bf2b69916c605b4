import { describe, expect, test } from 'vitest'
import { KeyRegistry } from '../../src/credentials/upkeep/key-registry.js'
import { RecordSealer, StoreVault } from '../../src/credentials/vault.js'
import { KeyRing } from '../../src/keys/key-ring.js'
import { memoryStore } from '../../src/storage/memory.js'
import type { CredentialStore } from '../../src/storage/storage.js'
import { type BreakableStore, breakableStore } from '../helpers/breakable-store.js'
import { fakeClock } from '../helpers/clock.js'

const [OLD, NEW] = ['o'.repeat(32), 'n'.repeat(32)] as const
const [old, young] = [OLD, NEW].map((key) => new KeyRing([key]).kids[0]) as [string, string]
const issuer = 'https://issuer.example'
const MINUTE = 60_000

function breakable(): BreakableStore {
  const inner = memoryStore()
  return Object.assign(breakableStore(inner), { list: inner.list })
}

function setUp(store: CredentialStore = memoryStore()) {
  const clock = fakeClock()
  const logged: string[] = []
  const log = {
    warn: (message: string) => logged.push(`warn ${message}`),
    error: (message: string) => logged.push(`error ${message}`),
  }
  /** Each is a process of its own. */
  const registry = (options = {}) =>
    new KeyRegistry({ store, name: 'oauth2', issuer, clientId: 'client', clock: clock.now, ...options })
  const entry = async () => {
    const found: string[] = []
    for await (const key of store.list?.('keys/') ?? []) found.push(key)
    expect(found).toHaveLength(1)
    return { key: found[0] as string, ...(await store.get(found[0] as string)) }
  }
  return { store, clock, registry, entry, log, logged }
}

describe('a ring without a key that is in use', () => {
  test('is refused, with the ids of the keys and what to do', async () => {
    const { registry, entry } = setUp()
    await registry().check(new KeyRing([NEW]))
    await registry().register(old)
    await registry().check(new KeyRing([OLD]))
    await registry().check(new KeyRing([NEW, OLD]))
    await expect(registry().check(new KeyRing([NEW]))).rejects.toMatchObject({
      code: 'FST_OAUTH2_KEY_IN_USE',
      statusCode: 500,
      message: expect.stringMatching(new RegExp(`${old}.*Put them back.*delete "${(await entry()).key}"`)),
    })
  })

  test('names every key that is missing, and none that is there', async () => {
    const { registry } = setUp()
    for (const kid of [old, young, 'AAAAAAAA']) await registry().register(kid)
    const error = await registry()
      .check(new KeyRing([NEW]))
      .catch((e: Error) => e)
    expect(String(error)).toContain(`${old}, AAAAAAAA.`)
    expect(String(error)).not.toContain(young)
  })

  test('can start again once the entry was deleted, which is the way on when a key is lost', async () => {
    const { registry, entry, store } = setUp()
    await registry().register(old)
    await store.delete((await entry()).key)
    await registry().check(new KeyRing([NEW]))
    await registry().register(young)
    await expect(registry().check(new KeyRing([OLD]))).rejects.toThrow(young)
  })

  test('is judged by what its own client sealed', async () => {
    const { registry } = setUp()
    await registry().register(old)
    const ring = new KeyRing([NEW])
    await registry({ clientId: 'another' }).check(ring)
    await registry({ issuer: 'https://another.example' }).check(ring)
    await registry({ name: 'crm' }).check(ring)
    await expect(registry().check(ring)).rejects.toThrow(old)
  })
})

describe('registering', () => {
  test('comes before the first record, and costs nothing afterwards', async () => {
    const seen: string[] = []
    const inner = memoryStore()
    const store: CredentialStore = {
      ...inner,
      get(key) {
        seen.push(`get ${key.slice(0, 5)}`)
        return inner.get(key)
      },
      put(key, ...rest) {
        seen.push(`put ${key.slice(0, 5)}`)
        return inner.put(key, ...rest)
      },
    }
    const { registry } = setUp(store)
    const sealer = new RecordSealer(new KeyRing([NEW, OLD]), issuer, 'client')
    const vault = new StoreVault(store, sealer, 'user/oauth2/alice', registry())
    const record = { v: 1, issuer, clientId: 'client', accounts: [] } as const
    await vault.write(record, 0)
    expect(seen).toEqual(['get keys/', 'put keys/', 'put user/'])
    await vault.write(record)
    expect(seen.slice(3)).toEqual(['put user/'])
    await expect(registry().check(new KeyRing([OLD]))).rejects.toThrow(young)
  })

  test('a record is not sealed with a key that could not be registered', async () => {
    const store = breakable()
    const { registry } = setUp(store)
    const sealer = new RecordSealer(new KeyRing([OLD]), issuer, 'client')
    store.failing = true
    const vault = new StoreVault(store, sealer, 'user/oauth2/alice', registry())
    const write = vault.write({ v: 1, issuer, clientId: 'client', accounts: [] }, 0)
    await expect(write).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
    store.failing = false
    expect(await store.get('user/oauth2/alice')).toBeUndefined()
  })

  test('once registered, a registry that cannot be reached holds up no refreshed token', async () => {
    const store = breakable()
    const { registry, clock, entry } = setUp(store)
    const one = registry()
    await one.register(old)
    const before = (await entry()).generation
    clock.advance(11 * MINUTE)
    store.failing = true
    await one.register(old)
    store.failing = false
    await one.register(old)
    expect((await entry()).generation).not.toBe(before)
  })

  test('many processes at once lose nobody', async () => {
    const { registry } = setUp()
    const kids = Array.from({ length: 12 }, (_, index) => `kid-${String(index).padStart(4, '0')}`)
    await Promise.all(kids.flatMap((kid) => [registry().register(kid), registry().register(kid)]))
    const error = await registry()
      .check(new KeyRing([OLD]))
      .catch((e: Error) => e)
    for (const kid of kids) expect(String(error)).toContain(kid)
  })
})

describe('retiring', () => {
  test('what no record uses is free, half an hour after it was last written with', async () => {
    const { registry, clock } = setUp()
    await registry().register(old)
    await registry().register(young)
    clock.advance(29 * MINUTE)
    expect(await registry().retire([old])).toEqual([])
    clock.advance(2 * MINUTE)
    expect(await registry().retire([old])).toEqual([old])
    await registry().check(new KeyRing([NEW]))
    await expect(registry().check(new KeyRing([OLD]))).rejects.toThrow(young)
  })

  test('a process of the deployment before, which still seals with it, keeps it', async () => {
    const { registry, clock } = setUp()
    const before = registry()
    for (let minutes = 0; minutes < 120; minutes += 5) {
      await before.register(old)
      expect(await registry().retire([old])).toEqual([])
      clock.advance(5 * MINUTE)
    }
    clock.advance(30 * MINUTE)
    expect(await registry().retire([old])).toEqual([old])
    // It was only quiet.
    await before.register(old)
    await expect(registry().check(new KeyRing([NEW]))).rejects.toThrow(old)
  })

  test('one of several processes says it for all', async () => {
    const { registry, clock, entry } = setUp()
    const processes = Array.from({ length: 5 }, () => registry())
    for (const process of processes) await process.register(old)
    const first = (await entry()).generation
    clock.advance(11 * MINUTE)
    await processes[0]?.register(old)
    const second = (await entry()).generation
    expect(second).not.toBe(first)
    for (const process of processes) await process.register(old)
    expect((await entry()).generation).toBe(second)
  })

  test('what nobody registered is nothing to retire', async () => {
    const { registry, store } = setUp()
    expect(await registry().retire([old])).toEqual([])
    expect(await store.get('keys/oauth2')).toBeUndefined()
  })
})

describe('an entry that is none', () => {
  test.each([
    '',
    'null',
    '[]',
    '{"v":1}',
    '{"v":1,"keys":[null,{"kid":"<b>bold</b>","at":1},{"kid":"AAAAAAAA"}]}',
    '\0',
  ])('is no reason not to start, and is replaced: %j', async (value) => {
    const { registry, entry, store } = setUp()
    await registry().register(old)
    const { key } = await entry()
    await store.put(key, value)
    await registry().check(new KeyRing([NEW]))
    await registry().register(young)
    await expect(registry().check(new KeyRing([OLD]))).rejects.toThrow(young)
  })

  test('of a later version is left alone', async () => {
    const { registry, entry, store, clock } = setUp()
    await registry().register(old)
    const { key } = await entry()
    const value = `{"v":2,"keys":[{"kid":"${old}","at":0}]}`
    await store.put(key, value)
    clock.advance(60 * MINUTE)
    await registry().check(new KeyRing([NEW]))
    await registry().register(young)
    expect(await registry().retire([old])).toEqual([])
    expect((await store.get(key))?.value).toBe(value)
  })

  test('members that a later minor version added survive', async () => {
    const { registry, entry, store, clock } = setUp()
    await registry().register(old)
    const { key } = await entry()
    await store.put(key, `{"v":1,"more":true,"keys":[{"kid":"${old}","at":${clock.now()},"by":"x"}]}`)
    await registry().register(young)
    expect(JSON.parse((await entry()).value as string)).toMatchObject({ more: true, keys: [{ kid: old, by: 'x' }, {}] })
  })
})

describe('at the start of an app', () => {
  test('a store that cannot be reached stops nobody; the first write looks again and says so', async () => {
    const store = breakable()
    const { registry, log, logged } = setUp(store)
    await registry().register(old)
    const started = registry()
    store.failing = true
    await started.checkAtStart(new KeyRing([NEW]), log)
    expect(logged).toEqual([expect.stringMatching(/^warn .*not be checked/)])
    store.failing = false
    await started.register(young)
    expect(logged.slice(1)).toEqual([expect.stringMatching(new RegExp(`^error .*${old}`))])
    await started.register(young)
    expect(logged).toHaveLength(2)
  })

  test('a store that never answers stops nobody either', async () => {
    const store = { ...memoryStore(), get: () => new Promise<undefined>(() => {}) }
    const { registry, log, logged } = setUp(store)
    await registry({ patience: 10 }).checkAtStart(new KeyRing([NEW]), log)
    expect(logged).toEqual([expect.stringMatching(/^warn /)])
  })

  test('a key in use stops it', async () => {
    const { registry, log } = setUp()
    await registry().register(old)
    await expect(registry().checkAtStart(new KeyRing([NEW]), log)).rejects.toThrow(old)
    await registry().checkAtStart(new KeyRing([NEW, OLD]), log)
  })
})
