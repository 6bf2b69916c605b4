import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { type RedisClient, type RedisNode, redisStore } from '../../src/storage/redis.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'
import { describeWith } from './servers.js'

const { url, describe } = await describeWith('TEST_REDIS_URL', 'redis://127.0.0.1:6379')
const clusterUrl = process.env.TEST_REDIS_CLUSTER_URL

/** Of this run, so that others may use the same server. */
const prefix = `test-${randomBytes(6).toString('hex')}:`
const open: (Redis | Cluster)[] = []

function connect(options: { db?: number; keyPrefix?: string } = {}): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 1, ...options })
  open.push(client)
  return client
}

async function namesOf(node: RedisNode): Promise<string[]> {
  const found: string[] = []
  for (let cursor = '0'; ; ) {
    const [next, names] = await node.scan(cursor, 'MATCH', `*${prefix}*`, 'COUNT', 1000)
    found.push(...names)
    if (next === '0') return found
    cursor = next
  }
}

/** Moves everything into the past, which is how the clock of a server is moved forward. */
async function age(nodes: Redis[], ms: number): Promise<void> {
  const script = `
    if redis.call('HEXISTS', KEYS[1], 'written') == 1 then redis.call('HINCRBY', KEYS[1], 'written', -1000 * ARGV[1]) end`
  for (const node of nodes) {
    for (const name of await namesOf(node)) {
      if (name.includes(':record:')) await node.eval(script, 1, name, String(ms))
      const left = await node.pttl(name)
      if (left >= 0) await node.pexpire(name, Math.max(0, left - ms))
    }
  }
}

async function clear(): Promise<void> {
  const client = new Redis(url)
  for (const db of [0, 1]) {
    await client.select(db)
    for (const name of await namesOf(client)) await client.del(name)
  }
  await client.quit()
}

afterEach(async () => {
  // Some are closed already, which is as good.
  for (const client of open.splice(0)) await client.quit().catch(() => undefined)
})

describe('redisStore', () => {
  afterAll(clear)

  credentialStoreContract({
    test,
    describe: (name, fn) => describe(`two connections: ${name}`, fn),
    async create() {
      const [first, second] = [connect(), connect()]
      return {
        store: redisStore({ client: first, prefix, closeClient: true }),
        second: redisStore({ client: second, prefix }),
        advance: (ms) => age([second], ms),
        async cleanup() {},
      }
    },
  })

  test('several connections racing lose no increment', async () => {
    const stores = Array.from({ length: 4 }, () => redisStore({ client: connect(), prefix }))
    await stores[0]!.put('race', '0', 0)
    await Promise.all(
      stores.map(async (store) => {
        for (let done = 0; done < 50; ) {
          const stored = await store.get('race')
          if (await store.put('race', String(Number(stored!.value) + 1), stored!.generation)) done++
        }
      }),
    )
    expect((await stores[0]!.get('race'))?.value).toBe('200')
  })

  test('a tombstone expires after an hour, and generations keep growing', async () => {
    const client = connect()
    const store = redisStore({ client, prefix })
    // Far ahead of the clock, as after a clock that was set back.
    const ahead = (Date.now() + 60_000) * 1000
    await store.put('gone', 'v')
    await client.hset(`${prefix}record:{/gone}`, 'generation', ahead)
    expect(await store.put('gone', 'w', ahead)).toBe(ahead + 1)
    expect(await store.delete('gone')).toBe(true)
    expect(await client.exists(`${prefix}record:{/gone}`)).toBe(0)
    const left = await client.pttl(`${prefix}deleted:{/gone}`)
    expect(left).toBeGreaterThan(3_600_000)
    expect(left).toBeLessThan(3_700_000)
    expect(await store.put('gone', 'again', 0)).toBe(ahead + 3)

    const first = Number(await store.put('later', 'v', 0))
    await store.delete('later')
    await client.pexpire(`${prefix}deleted:{/later}`, 1)
    await sleep(5)
    expect(await client.exists(`${prefix}deleted:{/later}`)).toBe(0)
    expect(await store.put('later', 'late', first)).toBe(false)
    expect(await store.put('later', 'again', 0)).toBeGreaterThan(first + 1)
  })

  test('records stay, leases go', async () => {
    const client = connect()
    const store = redisStore({ client, prefix })
    await store.put('kept', 'v')
    expect(await client.ttl(`${prefix}record:{/kept}`)).toBe(-1)
    expect(await store.lock('leased', 50)).toBeDefined()
    expect(await store.lock('leased', 50)).toBeUndefined()
    await sleep(80)
    expect(await store.lock('leased', 0.5)).toBeDefined()
    expect(await client.pttl(`${prefix}lease:{/leased}`)).toBeLessThanOrEqual(1)
  })

  test('a server that forgot the scripts learns them again', async () => {
    const client = connect()
    const store = redisStore({ client, prefix })
    const generation = Number(await store.put('forgotten', 'v', 0))
    await client.script('FLUSH')
    expect(await store.put('forgotten', 'w', generation)).toBeGreaterThan(generation)
    expect(await client.script('FLUSH')).toBe('OK')
    expect((await store.get('forgotten'))?.value).toBe('w')
  })

  test('a command that the client sent twice, for want of an answer, did not fail', async () => {
    const client = connect()
    const twice: RedisClient = {
      eval: async (...args) => {
        await client.eval(...args)
        return client.eval(...args)
      },
      evalsha: async (...args) => {
        await client.evalsha(...args)
        return client.evalsha(...args)
      },
      scan: (...args) => client.scan(...args),
      quit: () => client.quit(),
    }
    const store = redisStore({ client: twice, prefix })
    const first = await store.put('twice', 'v', 0)
    expect(first).toBeGreaterThan(0)
    const second = await store.put('twice', 'w', Number(first))
    expect(second).toBeGreaterThan(Number(first))
    expect(await store.put('twice', 'x', Number(first))).toBe(false)
    const lock = await store.lock('twice', 10_000)
    expect(await lock?.renew(10_000)).toBe(true)
    expect(await store.lock('twice', 10_000)).toBeUndefined()
    expect(await store.delete('twice', Number(second))).toBe(true)
    expect(await store.delete('twice')).toBe(false)
  })

  test('the prefix of the client is kept apart from keys', async () => {
    const [plain, prefixed] = [connect(), connect({ keyPrefix: `*${prefix}` })]
    const store = redisStore({ client: prefixed, prefix: 'inner:' })
    await store.put('a', 'v')
    await store.put('b', 'v')
    await store.delete('b')
    expect(await plain.exists(`*${prefix}inner:record:{/a}`)).toBe(1)
    const found: string[] = []
    for await (const key of store.list('')) found.push(key)
    expect(found).toEqual(['a'])
  })

  test('in a cluster every master is scanned, and what two of them have is listed once', async () => {
    const [first, second] = [connect({ db: 0 }), connect({ db: 1 })]
    for (const [client, keys] of [
      [first, ['a', 'moving']],
      [second, ['b', 'moving']],
    ] as const) {
      for (const key of keys) await redisStore({ client, prefix: `${prefix}nodes:` }).put(key, 'v')
    }
    const cluster: RedisClient = Object.assign(Object.create(first), { nodes: () => [first, second] })
    const found: string[] = []
    for await (const key of redisStore({ client: cluster, prefix: `${prefix}nodes:` }).list('')) found.push(key)
    expect(found.sort()).toEqual(['a', 'b', 'moving'])
  })

  test('refuses keys that would be merged, and clients that are none', async () => {
    const store = redisStore({ client: connect(), prefix })
    for (const key of ['a\ud800', '\udc00a']) {
      await expect(store.get(key)).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
      await expect(store.put(key, 'v')).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
    }
    expect(await store.put('a\0b', 'v', 0)).toBeGreaterThan(0)
    expect(await store.get('a')).toBeUndefined()
    for (const client of [undefined, {}, { eval() {} }]) {
      expect(() => redisStore({ client: client as unknown as RedisClient })).toThrow(
        expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
      )
    }
  })

  test('does not quit a client that it does not own', async () => {
    const client = connect()
    await redisStore({ client, prefix }).close()
    expect(await client.ping()).toBe('PONG')
    const store = redisStore({ client, prefix, closeClient: true })
    await store.close()
    await expect(store.get('k')).rejects.toThrow()
  })

  test('rejects when the server cannot be reached', async () => {
    const client = new Redis({ port: 1, lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null })
    client.on('error', () => {})
    await expect(redisStore({ client }).get('k')).rejects.toThrow()
  })
})

describe('the names of redisStore in a cluster', () => {
  /** CRC16 of XMODEM, of what is in the first braces that are not empty; as in the cluster specification. */
  function slot(name: string): number {
    const start = name.indexOf('{')
    const end = name.indexOf('}', start + 1)
    let crc = 0
    for (const byte of Buffer.from(start >= 0 && end > start + 1 ? name.slice(start + 1, end) : name)) {
      crc ^= byte << 8
      for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
    }
    return crc % 16_384
  }

  async function slotsFor(key: string, options: { prefix?: string } = {}): Promise<Set<number>> {
    const slots = new Set<number>()
    const client: RedisClient = {
      async eval() {},
      async evalsha(_sha1, keys, ...args) {
        for (const name of args.slice(0, keys)) slots.add(slot(name))
        return 1
      },
      scan: async () => ['0', []],
      async quit() {},
    }
    const store = redisStore({ client, ...options })
    await store.put(key, 'v')
    await store.delete(key)
    await (await store.lock(key, 1000))?.release()
    return slots
  }

  test('the function above is right', () => {
    expect(slot('123456789')).toBe(0x31c3)
    expect(slot('foo{}{bar}')).toBe(slot('foo{}{bar}'))
    expect(slot('{user1000}.following')).toBe(slot('user1000'))
  })

  test('a record, its tombstone and its lease share a slot, and keys are spread', async () => {
    const all = new Set<number>()
    for (const key of ['', 'user/alice', 'user/bob', '}', '}x', '{', '{}', '{a}b', 'a}b{', '日本語']) {
      const slots = await slotsFor(key)
      expect(slots.size, key).toBe(1)
      for (const number of slots) all.add(number)
    }
    expect(all.size).toBeGreaterThan(5)
    expect(await slotsFor('a', { prefix: '{app}:' })).toEqual(await slotsFor('b', { prefix: '{app}:' }))
  })
})

const describeCluster = clusterUrl ? describe : describe.skip
describeCluster('redisStore on a cluster', () => {
  let clusters: Cluster[] = []
  beforeEach(() => {
    clusters = [0, 1].map(() => new Cluster([clusterUrl as string]))
    open.push(...clusters)
  })

  credentialStoreContract({
    test,
    async create() {
      const [first, second] = clusters as [Cluster, Cluster]
      return {
        store: redisStore({ client: first, prefix }),
        second: redisStore({ client: second, prefix }),
        advance: (ms) => age(second.nodes('master'), ms),
        async cleanup() {
          for (const node of first.nodes('master')) for (const name of await namesOf(node)) await node.del(name)
        },
      }
    },
  })
})
