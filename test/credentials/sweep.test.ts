/** What a nightly job does to everything that is stored: it must help, hurt nobody, and say what it did. */
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { CredentialManager, type CredentialManagerOptions, type CredentialStore, Credentials } from '../../src/index.js'
import { KeyRing, kidOf } from '../../src/keys/key-ring.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

const [OLD, YOUNG] = [
  'the key of last year, which is long enough',
  'the key of this year, which is long enough',
] as const
const kidOfKey = (key: string) => new KeyRing([key]).kids[0]
const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 86_400 * SECOND

const NOTHING = {
  users: 0,
  unreadable: 0,
  resealed: 0,
  freeKeys: [],
  refreshed: 0,
  refreshFailed: 0,
  revoked: 0,
  revocationsPending: 0,
  removed: 0,
}

let clock: FakeClock
let map: Map<string, MemoryEntry>
let provider: ScriptedProvider
beforeEach(async () => {
  clock = fakeClock()
  map = new Map()
  provider = await startScriptedProvider()
  const start = clock.now()
  const real = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => real() + clock.now() - start)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await provider.close()
})

/** A process's view of the store that all of them share. */
function store(changes: Partial<CredentialStore> = {}): CredentialStore {
  return { ...memoryStore({ map, clock: clock.now }), shared: true, ...changes }
}

function manager(keys: string[] = [OLD], options: Partial<CredentialManagerOptions> = {}): CredentialManager {
  return new CredentialManager({
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    storage: store(),
    encryptionKeys: keys,
    clock: clock.now,
    ...options,
  })
}

async function signIn(...people: string[]): Promise<void> {
  const { url, app } = await startApp({ provider, storage: store(), clock, client: { encryptionKeys: [OLD, YOUNG] } })
  for (const person of people) {
    provider.user = person
    expect((await new Browser().goto(`${url}/profile`)).status).toBe(200)
  }
  await app.close()
}

const entry = (key: string) => map.get(key) as MemoryEntry
const names = (prefix: string) =>
  [...map].filter(([key, { value }]) => key.startsWith(prefix) && value !== undefined).map(([key]) => key)
const refreshes = () => provider.count('token', 'refresh_token')

test('with nothing to do it does nothing, and says so', async () => {
  expect(await manager().sweep()).toEqual(NOTHING)
  await signIn('alice', 'bob')
  const before = [...map]
  expect(await manager().sweep()).toEqual({ ...NOTHING, users: 2 })
  expect(await manager().sweep({ keepAlive: 3_600 })).toEqual({ ...NOTHING, users: 2 })
  const records = ([key]: [string, MemoryEntry]) => key.startsWith('user/')
  expect([...map].filter(records)).toEqual(before.filter(records))
  expect(refreshes()).toBe(0)
})

describe('keys', () => {
  test('records move to the first one; the other is free once nobody can be sealing with it any more', async () => {
    await signIn('alice', 'bob')
    const next = manager([YOUNG, OLD])
    expect(await next.sweep()).toEqual({ ...NOTHING, users: 2, resealed: 2 })
    for (const key of names('user/')) expect(kidOf(String(entry(key).value))).toBe(kidOfKey(YOUNG))
    expect((await next.user('sub-alice')).userId).toBe('sub-alice')
    clock.advance(30 * MINUTE - 1)
    expect(await next.sweep()).toEqual({ ...NOTHING, users: 2, removed: 2 })
    clock.advance(1)
    expect(await next.sweep()).toEqual({ ...NOTHING, users: 2, freeKeys: [kidOfKey(OLD)] })
    // Said once: it is off the list.
    expect(await next.sweep()).toEqual({ ...NOTHING, users: 2 })
    expect((await manager([YOUNG]).user('sub-bob')).userId).toBe('sub-bob')
  })

  test('what somebody of the deployment before writes meanwhile is sealed again too', async () => {
    await signIn('alice')
    const inner = memoryStore({ map, clock: clock.now })
    const value = String(entry('user/oauth2/sub-alice').value)
    let written = false
    const storage = store({
      put: async (key, sealed, expected) => {
        if (!written && key.startsWith('user/')) {
          written = true
          await inner.put(key, value)
        }
        return inner.put(key, sealed, expected)
      },
    })
    expect(await manager([YOUNG, OLD], { storage }).sweep()).toMatchObject({ users: 1, resealed: 1 })
    expect(kidOf(String(entry('user/oauth2/sub-alice').value))).toBe(kidOfKey(YOUNG))
  })

  test('a key that one record still needs is not free, though nobody can open that one', async () => {
    await signIn('alice', 'bob')
    const { value = '', ...rest } = entry('user/oauth2/sub-alice')
    map.set('user/oauth2/sub-alice', { ...rest, value: `${value.slice(0, -4)}AAAA` })
    const next = manager([YOUNG, OLD])
    await next.sweep()
    clock.advance(DAY)
    expect(await next.sweep()).toMatchObject({ users: 2, unreadable: 1, freeKeys: [] })
    await next.deleteUser('sub-alice', { evenUnreadable: true })
    clock.advance(DAY)
    expect(await next.sweep()).toMatchObject({ users: 1, unreadable: 0, freeKeys: [kidOfKey(OLD)] })
  })

  test('a sweep that is ended early frees no key: it has not seen everything', async () => {
    await signIn('alice', 'bob')
    clock.advance(DAY)
    const ending = new AbortController()
    const next = manager([YOUNG, OLD], {
      storage: store({
        put: async (key, value, expected) => {
          if (key.startsWith('user/')) ending.abort()
          return memoryStore({ map, clock: clock.now }).put(key, value, expected)
        },
      }),
    })
    expect(await next.sweep({ signal: ending.signal })).toEqual({ ...NOTHING, users: 1, resealed: 1 })
    expect(await next.sweep({ signal: AbortSignal.abort() })).toEqual(NOTHING)
  })

  test('what cannot be opened, is of a later version or of another client is counted, kept, and holds nobody up', async () => {
    await signIn('alice', 'bob', 'carol', 'dave')
    const plain = manager()
    const damaged = entry('user/oauth2/sub-alice')
    map.set('user/oauth2/sub-alice', { ...damaged, value: 'damaged' })
    const later = JSON.stringify({ v: 2, issuer: provider.issuer, clientId: provider.clientId, future: [] })
    await store().put('user/oauth2/sub-bob', await plain.sealer.sealText('user/oauth2/sub-bob', later))
    const other = manager([OLD], { clientId: 'other' })
    await (await other.user('zoe')).adopt(Credentials.fromAccessToken('t'))
    const kept = ['sub-alice', 'sub-bob', 'zoe'].map((user) => entry(`user/oauth2/${user}`).value)
    clock.advance(8 * DAY)
    expect(await plain.sweep()).toMatchObject({ users: 5, unreadable: 2 })
    expect(await plain.sweep({ keepAlive: 7 * 86_400 })).toMatchObject({
      users: 5,
      unreadable: 3,
      refreshed: 2,
      refreshFailed: 0,
    })
    expect(['sub-alice', 'sub-bob', 'zoe'].map((user) => entry(`user/oauth2/${user}`).value)).toEqual(kept)
  })
})

describe('keepAlive', () => {
  test('refreshes who was not used for so long, to the second, and each once', async () => {
    await signIn('alice')
    const obtainedAt = Number((await manager().vaultOf('sub-alice').read())?.record.accounts[0]?.tokens.obtainedAt)
    clock.advance(obtainedAt + 7 * DAY - clock.now() - 1)
    expect(await manager().sweep({ keepAlive: 7 * 86_400 })).toMatchObject({ users: 1, refreshed: 0 })
    clock.advance(1)
    expect(await manager().sweep({ keepAlive: 7 * 86_400 })).toMatchObject({ users: 1, refreshed: 1, refreshFailed: 0 })
    expect(await manager().sweep({ keepAlive: 7 * 86_400 })).toMatchObject({ users: 1, refreshed: 0 })
    expect(refreshes()).toBe(1)
  })

  test('counts failures, keeps what failed, and goes on with the others', async () => {
    await signIn('alice', 'bob', 'carol')
    await (await manager().user('dave')).adopt(Credentials.fromAccessToken('lasts-for-ever', { userId: 'd' }))
    provider.withdraw('bob')
    const [first] = provider.secrets().filter((secret) => secret.startsWith('rt-'))
    provider.tokenAnswer = ({ refresh_token }) => (refresh_token === first ? { status: 503, body: {} } : undefined)
    clock.advance(8 * DAY)
    expect(await manager().sweep({ keepAlive: 86_400 })).toMatchObject({ users: 4, refreshed: 1, refreshFailed: 2 })
    const status = async (user: string) => {
      const record = (await manager().vaultOf(user).read())?.record.accounts[0]
      return [record?.dead, record?.tokens.refreshToken !== undefined]
    }
    expect(await status('sub-alice')).toEqual([undefined, true])
    expect(await status('sub-bob')).toEqual(['refused', true])
    // Who is dead is not tried again, who was unlucky is: the attempt that is in doubt is half a minute old by then.
    provider.tokenAnswer = undefined
    clock.advance(31 * SECOND)
    const before = refreshes()
    const patient = manager()
    await patient.sweep({ keepAlive: 86_400 })
    clock.advance(3 * SECOND)
    await patient.sweep({ keepAlive: 86_400 })
    expect(refreshes()).toBe(before + 1)
    expect((await patient.user('sub-alice')).accounts()).toMatchObject([{ status: 'active' }])
  })

  test('in two processes at once refreshes each once', async () => {
    provider.refreshTokenPolicy = 'rotate'
    await signIn('alice', 'bob')
    clock.advance(8 * DAY)
    const reports = await Promise.all([manager(), manager()].map((each) => each.sweep({ keepAlive: 86_400 })))
    expect(refreshes()).toBe(2)
    for (const report of reports) expect(report).toMatchObject({ users: 2, refreshFailed: 0 })
    for (const user of ['sub-alice', 'sub-bob']) {
      expect((await manager().user(user)).accounts()).toMatchObject([{ status: 'active' }])
    }
  })

  test('several accounts of a user are each looked at', async () => {
    const users = manager()
    await signIn('alice')
    provider.user = 'bob'
    await signIn('bob')
    const other = (await users.vaultOf('sub-bob').read())?.record.accounts[0]
    await users.keeper.update(users.vaultOf('sub-alice'), (record) =>
      record && other ? { ...record, accounts: [...record.accounts, other] } : undefined,
    )
    await users.deleteUser('nobody')
    clock.advance(8 * DAY)
    expect(await users.sweep({ keepAlive: 86_400 })).toMatchObject({ users: 2, refreshed: 3, refreshFailed: 0 })
  })
})

test('two sweeps at once and a person who signs in meanwhile lose nothing', async () => {
  await signIn('alice', 'bob')
  const next = [0, 1].map(() =>
    manager([YOUNG, OLD], {
      storage: store({
        get: async (key) => {
          const stored = await memoryStore({ map, clock: clock.now }).get(key)
          await new Promise((resolve) => setImmediate(resolve))
          return stored
        },
      }),
    }),
  )
  const [reports] = await Promise.all([Promise.all(next.map((each) => each.sweep())), signIn('carol', 'alice')])
  for (const report of reports) expect(report.unreadable).toBe(0)
  expect(await manager([YOUNG, OLD]).sweep()).toMatchObject({ users: 3, unreadable: 0 })
  // Until nobody can be writing with it any more, a program without the old key is not let in.
  await expect(manager([YOUNG]).user('sub-alice')).rejects.toMatchObject({ code: 'FST_OAUTH2_KEY_IN_USE' })
  clock.advance(31 * MINUTE)
  expect((await manager([YOUNG, OLD]).sweep()).freeKeys).toHaveLength(1)
  for (const user of ['sub-alice', 'sub-bob', 'sub-carol']) {
    expect((await manager([YOUNG]).user(user)).userId).toBe(user)
  }
})

test('a record whose key is lost does not keep the app from starting for ever', async () => {
  await signIn('alice')
  const [list] = names('keys/')
  // As the error says: without what the lost key sealed.
  await store().delete(list as string)
  const users = manager([YOUNG])
  await users.user('sub-bob')
  expect(await users.sweep()).toMatchObject({ users: 1, unreadable: 1 })
  await expect(manager([YOUNG]).user('sub-bob')).resolves.toBeDefined()
  await users.deleteUser('sub-alice', { evenUnreadable: true })
  await expect(manager([YOUNG]).user('sub-bob')).resolves.toBeDefined()
})

test('a key that nothing is sealed with any more leaves the list though nobody has it', async () => {
  await signIn('alice')
  await manager([OLD]).deleteUser('sub-alice')
  const users = manager([YOUNG], { storage: store() })
  clock.advance(31 * MINUTE)
  await expect(users.user('sub-bob')).rejects.toMatchObject({ code: 'FST_OAUTH2_KEY_IN_USE' })
  expect((await users.sweep()).freeKeys).toEqual([kidOfKey(OLD)])
  await expect(users.user('sub-bob')).resolves.toBeDefined()
})

test('markers go when they are of no use to anybody any more, by the clock of the store', async () => {
  await signIn('alice')
  await (await manager().user('sub-alice')).revoke()
  await store().put('pending/oauth2.x/y', 'what nobody confirmed')
  await store().put('something/else', 'of the app')
  const [used] = names('used/')
  expect([used, names('moved/').length]).toEqual([expect.stringMatching(/^used\//), 1])
  clock.advance(11 * MINUTE)
  expect(await manager().sweep()).toMatchObject({ removed: 0 })
  clock.advance(1)
  // Whatever the clock of this process says.
  expect(await manager([OLD], { clock: () => 0 }).sweep()).toMatchObject({ removed: 2 })
  expect([...names('used/'), ...names('pending/')]).toEqual([])
  expect(names('moved/')).toHaveLength(1)
  clock.advance(400 * DAY)
  expect(await manager().sweep()).toMatchObject({ removed: 1 })
  expect(names('moved/')).toEqual([])
  expect(names('something/')).toEqual(['something/else'])
})

describe('what it needs', () => {
  test('is a store that can list its keys', async () => {
    const { list: _, ...storage } = store()
    await expect(manager([OLD], { storage: storage as CredentialStore }).sweep()).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining('list(prefix)'),
    })
  })

  test.each(['get', 'list', 'list, later'] as const)('is a store that answers: %s', async (failing) => {
    await signIn('alice')
    const fail = () => Promise.reject(new Error('away'))
    async function* list() {
      if (failing === 'list, later') yield 'user/oauth2/sub-alice'
      await fail()
    }
    const storage = failing === 'get' ? store({ get: fail }) : store({ list })
    await expect(manager([OLD], { storage }).sweep()).rejects.toMatchObject({
      code: 'FST_OAUTH2_STORE_UNAVAILABLE',
    })
  })

  test.each<[object, string]>([
    [{ keepalive: 1 }, 'keepalive'],
    [{ keepAlive: 0 }, 'keepAlive'],
    [{ keepAlive: '7d' }, 'keepAlive'],
    [{ keepAlive: Number.NaN }, 'keepAlive'],
    [{ signal: true }, 'signal'],
  ])('%j is a mistake that is named', async (options, option) => {
    await expect(manager().sweep(options)).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining(`"${option}"`),
    })
  })

  test('is not a session', async () => {
    const { app } = await startApp({ provider })
    await expect(app.oauth2.sweep()).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_REQUIRED' })
  })
})

test('fastify.oauth2.sweep() is the same', async () => {
  const { app, browser, url } = await startApp({ provider, storage: store(), clock, client: { encryptionKeys: [OLD] } })
  await browser.goto(`${url}/profile`)
  clock.advance(8 * DAY)
  expect(await app.oauth2.sweep({ keepAlive: 86_400 })).toMatchObject({ users: 1, refreshed: 1 })
  onTestFinished(() => expect(refreshes()).toBe(1))
})
