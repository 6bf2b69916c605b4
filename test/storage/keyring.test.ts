import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { AsyncEntry, findCredentialsAsync } from '@napi-rs/keyring'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KeyringUnavailableError } from '../../src/errors.js'
import { type KeyringStore, keyringStore } from '../../src/storage/keyring.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'
import { type Children, compileForChildren } from './children.js'
import { describeWithSecretService, type SecretService, startSecretService } from './secret-service.js'

let directory: string
let path: string
let service: string
let count = 0

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keyring-store-'))
  path = join(directory, 'ledger.json')
  service = `test-${process.pid}-${count++}`
})
afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
  collectGarbage()
})

// Every object for an entry keeps its connection until it is collected, and these tests make thousands within a minute.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const key of keys) found.push(key)
  return found.sort()
}

const uses = (store: KeyringStore): (() => Promise<unknown>)[] => [
  () => store.get('k'),
  () => store.put('k', 'w'),
  () => store.delete('k'),
  () => all(store.list('')),
]

const held = () => findCredentialsAsync(service)
const entryOf = async (part = 0) => {
  const found = (await held()).find(({ account }) => account.endsWith(`.${part}`))
  return new AsyncEntry(service, found?.account ?? '', { linux: { store: 'secret-service' } })
}

describeWithSecretService()('keyringStore', () => {
  let running: SecretService
  let children: Children
  beforeAll(async () => {
    running = await startSecretService()
    children = await compileForChildren()
  }, 60_000)
  afterAll(async () => {
    await children?.remove()
    await running?.stop()
  })

  credentialStoreContract({
    // Hundreds of writes that are flushed to the disk one by one.
    test: (name, fn) => test(name, { timeout: 180_000 }, fn),
    describe: (name, fn) => describe(`on the Secret Service, two handles: ${name}`, fn),
    async create() {
      let now = 0
      const clock = () => now
      return {
        store: keyringStore({ service, path, clock }),
        second: keyringStore({ service, path, clock }),
        advance(ms) {
          now += ms
        },
        async cleanup() {},
      }
    },
  })

  test('values are in the keyring, under names that people can tell, and nothing of them is in the file', async () => {
    const store = keyringStore({ service, path })
    await store.put('user/alice', 'canary-value', 0)
    expect(await held()).toEqual([
      {
        account: expect.stringMatching(/^user\/alice [0-9a-f]{24}\.0$/),
        password: expect.stringContaining('canary-value'),
      },
    ])
    expect(await readFile(path, 'utf8')).not.toContain('canary')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test('what was replaced or deleted does not stay in the keyring', async () => {
    const store = keyringStore({ service, path, partLength: 10 })
    const first = await store.put('k', 'first, long enough for several entries', 0)
    await store.put('k', 'second', Number(first))
    await store.put('k', 'third')
    await expect(store.put('k', 'of a loser', Number(first))).resolves.toBe(false)
    expect((await held()).map(({ password }) => password).join('')).not.toMatch(/first|second|loser/)
    expect(await store.delete('k')).toBe(true)
    expect(await held()).toEqual([])
  })

  test('what is longer than an entry of Windows is cut so that each part fits, whatever it is made of', async () => {
    const store = keyringStore({ service, path, partLength: 1200 })
    const value = '👩‍👩‍👧é"\\\0\n'.repeat(400)
    await store.put('kéy', value, 0)
    const entries = await held()
    expect(entries.length).toBeGreaterThan(5)
    for (const { password } of entries) expect(Buffer.byteLength(password, 'utf16le')).toBeLessThanOrEqual(2560)
    expect((await keyringStore({ service, path }).get('kéy'))?.value).toBe(value)
  })

  test('ST-5: an entry that was deleted by hand counts as deleted, and can be written anew', async () => {
    const store = keyringStore({ service, path })
    const generation = Number(await store.put('k', 'v', 0))
    await (await entryOf()).deletePassword()
    expect(await store.get('k')).toBeUndefined()
    expect(await all(store.list(''))).toEqual([])
    expect(await store.put('k', 'late', generation)).toBe(false)
    expect(await store.delete('k')).toBe(false)
    expect(await store.put('k', 'again', 0)).toBeGreaterThan(generation)
    await (await entryOf()).deletePassword()
    expect(await store.put('k', 'and again', 0)).toBeGreaterThan(generation)
    expect((await store.get('k'))?.value).toBe('and again')
  })

  test.each([
    ['not JSON', 'canary', 'damaged'],
    ['of another key', '{"v":1,"key":"other","value":"canary"}', 'damaged'],
    ['without a value', '{"v":1,"key":"k"}', 'damaged'],
    ['of a later version', '{"v":2,"key":"k","value":{}}', 'newer_version'],
  ])('an entry that is %s is an error, is kept, and can be deleted', async (_name, password, reason) => {
    const store = keyringStore({ service, path })
    await store.put('k', 'v', 0)
    await (await entryOf()).setPassword(password)
    const error = await store.get('k').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE', reason })
    expect(JSON.stringify([String(error), String((error as Error).cause)])).not.toContain('canary')
    expect(await store.put('k', 'w', 0)).toBe(false)
    expect((await held()).map((entry) => entry.password)).toEqual([password])
    expect(await store.delete('k')).toBe(true)
    expect(await held()).toEqual([])
  })

  test('a part that is missing is an error, not half of a value', async () => {
    const store = keyringStore({ service, path, partLength: 20 })
    await store.put('k', 'x'.repeat(100), 0)
    await (await entryOf(2)).deletePassword()
    await expect(store.get('k')).rejects.toMatchObject({ reason: 'damaged' })
  })

  test('services are kept apart; programs of the same name share by default', async () => {
    const before = process.env.XDG_DATA_HOME
    process.env.XDG_DATA_HOME = directory
    try {
      await keyringStore({ service }).put('k', 'v', 0)
      expect((await keyringStore({ service }).get('k'))?.value).toBe('v')
      expect(await keyringStore({ service: `${service}-other` }).get('k')).toBeUndefined()
      expect(await readdir(join(directory, 'fastify-oauth2client'))).toHaveLength(1)
    } finally {
      if (before === undefined) delete process.env.XDG_DATA_HOME
      else process.env.XDG_DATA_HOME = before
    }
  })

  test('readers see whole values while several writers replace them', { timeout: 60_000 }, async () => {
    const stores = [0, 1].map(() => keyringStore({ service, path, partLength: 50 }))
    await stores[0]!.put('k', 'x'.repeat(200), 0)
    let writing = true
    const writers = stores.map(async (store, index) => {
      for (let round = 0; round < 6; round++) await store.put('k', `${index}`.repeat(200))
      writing = false
    })
    while (writing)
      for (const use of [stores[0]!, stores[1]!]) expect((await use.get('k'))?.value).toMatch(/^(.)\1{199}$/)
    await Promise.all(writers)
    expect(await held()).toHaveLength(Math.ceil(('{"v":1,"key":"k","value":""}'.length + 200) / 50))
  })

  test('several processes lose no update', { timeout: 60_000 }, async () => {
    const store = keyringStore({ service, path })
    await store.put('counter', '0', 0)
    const task = { kind: 'keyring', path, service, action: 'increment', count: 5 } as const
    const ends = await Promise.all([0, 1, 2].map(() => children.run(task)))
    for (const end of ends) expect(end).toMatchObject({ code: 0, output: '' })
    expect((await store.get('counter'))?.value).toBe('15')
    expect(await held()).toHaveLength(1)
  })

  test('ST-8: reading works while another process has the lease or the turn to write', async () => {
    const store = keyringStore({ service, path })
    await store.put('k', 'v', 0)
    const lease = await store.lock('k', 60_000)
    expect(await keyringStore({ service, path }).lock('k', 1000)).toBeUndefined()
    expect((await keyringStore({ service, path }).get('k'))?.value).toBe('v')
    await lease?.release()
  })

  // The last one, because it ends the service.
  test('a keyring that goes away is an error in each use, and what the file says stays', async () => {
    const store = keyringStore({ service, path })
    await store.put('k', 'v', 0)
    const before = await readFile(path, 'utf8')
    await running.stop()
    for (const use of uses(store)) await expect(use()).rejects.toBeInstanceOf(KeyringUnavailableError)
    expect(await readFile(path, 'utf8')).toBe(before)
  })
})
