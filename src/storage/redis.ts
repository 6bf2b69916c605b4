/**
 * Credentials in Redis, through `ioredis`.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto'
import { OptionError } from '../errors.js'
import type { CredentialLock, CredentialStore } from './storage.js'

/**
 * What is used of one connection. Structural, so that every version of `ioredis` fits without being imported. For
 * {@link redisStore}.
 */
export interface RedisNode {
  /** `EVAL`, the first time a script is run. */
  eval(script: string, keys: number, ...args: string[]): Promise<unknown>
  /** `EVALSHA`, from then on. */
  evalsha(sha1: string, keys: number, ...args: string[]): Promise<unknown>
  /** `SCAN`, for `list`. */
  scan(
    cursor: string,
    match: 'MATCH',
    pattern: string,
    count: 'COUNT',
    size: number,
  ): Promise<[cursor: string, names: string[]]>
}

/** A `Redis` or a `Cluster` of `ioredis` 5 or 6. For {@link redisStore}. */
export interface RedisClient extends RedisNode {
  /** Called by `close`, with `closeClient`. */
  quit(): Promise<unknown>
  /** Read for `keyPrefix`. */
  readonly options?: { keyPrefix?: unknown }
  /** Only a cluster has it. */
  nodes?(role: 'master'): RedisNode[]
}

/** Options of {@link redisStore}. */
export interface RedisStoreOptions {
  /** An `ioredis` client: `new Redis(...)` or `new Redis.Cluster(...)`. Its `keyPrefix` is respected. */
  client: RedisClient
  /**
   * What the names in Redis begin with. Default `oauth2:`. Braces in it take over from the ones that the store puts
   * around the key: with `{app}:` everything is in one slot of a cluster.
   */
  prefix?: string
  /** Whether `close` quits `client`. Default `false`: it is the app's, and others may be using it. */
  closeClient?: boolean
}

/** What {@link redisStore} makes: it has every optional method of a store but `peek`. */
export interface RedisStore extends Required<Omit<CredentialStore, 'peek'>> {}

/** An hour, and a minute for clocks that run apart after a failover. */
const TOMBSTONE_MS = 3_660_000
const SCAN_SIZE = 250

interface Script {
  readonly text: string
  readonly sha1: string
}

function script(text: string): Script {
  return { text, sha1: createHash('sha1').update(text).digest('hex') }
}

// Lua turns large numbers into text with 14 digits unless it is told otherwise.
const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
`

// A script also for reading: it needs the clock, and clusters send scripts to the master, which replicas lag behind.
const READ = script(`${CLOCK}
local record = redis.call('HMGET', KEYS[1], 'value', 'generation', 'written')
if not record[1] then return false end
return { record[1], record[2], text(now - record[3]) }`)

// Clients send a command again when the connection broke before the answer came. "by" tells such a repetition, which is
// a success, from a competitor's write.
const PUT = script(`${CLOCK}
local value, expected, by = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('HMGET', KEYS[1], 'generation', 'by')
if record[1] and record[2] == by then return record[1] end
if expected ~= '' and expected ~= (record[1] or '0') then return false end
local last = record[1] or redis.call('HGET', KEYS[2], 'generation') or 0
local generation = text(math.max(now, last + 1))
redis.call('HSET', KEYS[1], 'value', value, 'generation', generation, 'written', text(now), 'by', by)
redis.call('DEL', KEYS[2])
return generation`)

const DELETE = script(`${CLOCK}
local expected, by, lifetime = ARGV[1], ARGV[2], ARGV[3]
local generation = redis.call('HGET', KEYS[1], 'generation')
if not generation then return redis.call('HGET', KEYS[2], 'by') == by and 1 or 0 end
if expected ~= '' and expected ~= generation then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'generation', text(math.max(now, generation + 1)), 'by', by)
redis.call('PEXPIRE', KEYS[2], lifetime)
return 1`)

const LOCK = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0`)

const RENEW = script(`
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0`)

const RELEASE = script(`
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0`)

/** SCAN takes `* ? [ ]` for patterns. */
const literally = (text: string) => text.replace(/[*?[\]\\]/g, '\\$&')
const milliseconds = (ms: number) => String(Math.max(1, Math.ceil(ms)))
const unique = () => randomBytes(16).toString('base64url')

/**
 * Credentials in Redis 5 or later, or Valkey, through a client of `ioredis`: one server, Sentinel or a cluster.
 *
 * Every method but `list` is one script and one round trip, so no writer comes in between. All times are the server's.
 * A record, the tombstone it leaves and its lease are three names in the same slot of a cluster:
 * `oauth2:record:{/user/alice}`, `oauth2:deleted:{/user/alice}` and `oauth2:lease:{/user/alice}`. Records never expire;
 * tombstones do after an hour, leases when their time is over.
 *
 * Generations never repeat for a key, although tombstones expire: each is the server's current microsecond, or one more
 * than the last one where that is higher. Only a clock that is set back by more than an hour could make them smaller.
 *
 * `list` scans the whole database (every master of a cluster) and remembers what it found: for maintenance, not for
 * requests. What is written, deleted or moved to another node meanwhile may or may not be listed.
 *
 * What Redis does not promise, neither does this store. Replication is asynchronous: a failover can lose writes of the
 * last moment, and with them a refresh token that was just rotated or a delete. Without `appendonly yes` a crash loses
 * the writes since the last snapshot. Set `maxmemory-policy noeviction`, or records are dropped when memory is short.
 * A client with the default settings waits long for a server that is down: set `maxRetriesPerRequest` to 1 or so, and
 * `commandTimeout`, and requests are answered with 503 soon.
 *
 * Keys hold no lone surrogates, or methods reject with `OptionError`.
 *
 * @throws OptionError when there is no usable client. Methods reject with the client's error when Redis fails.
 *
 * @example
 * ```ts
 * import { type RedisClient, redisStore } from 'fastify-oauth2client/storage/redis'
 *
 * // client: new Redis({ maxRetriesPerRequest: 1, commandTimeout: 2000 })
 * function storeOn(client: RedisClient) {
 *   return redisStore({ client, prefix: 'my-app:' })
 * }
 * ```
 */
export function redisStore({ client, prefix = 'oauth2:', closeClient = false }: RedisStoreOptions): RedisStore {
  if (typeof client?.evalsha !== 'function' || typeof client.scan !== 'function') {
    throw new OptionError('client', 'must be a client of ioredis, such as new Redis().')
  }
  let closed: Promise<unknown> | undefined

  /**
   * Records, tombstones and leases of a key share what is in braces, and with it the slot. The slash is there because
   * empty braces, as with a key that begins with `}`, count for nothing.
   */
  function name(kind: 'record' | 'deleted' | 'lease', key: string): string {
    // They would all become the same replacement character.
    if (/\p{Surrogate}/u.test(key)) throw new OptionError('key', 'holds a lone surrogate.')
    return `${prefix}${kind}:{/${key}}`
  }

  async function run({ text, sha1 }: Script, names: readonly string[], ...args: string[]): Promise<unknown> {
    try {
      return await client.evalsha(sha1, names.length, ...names, ...args)
    } catch (error) {
      // A server that was restarted or took over does not know the scripts; it learns them from this.
      if (!String((error as { message?: unknown }).message).startsWith('NOSCRIPT')) throw error
      return client.eval(text, names.length, ...names, ...args)
    }
  }

  async function read(key: string): Promise<string[] | null> {
    return (await run(READ, [name('record', key)])) as string[] | null
  }

  return {
    name: 'redis',
    shared: true,

    async get(key) {
      const record = await read(key)
      if (!record) return undefined
      const [value = '', generation, age] = record
      return { value, generation: Number(generation), age: Math.max(0, Number(age) / 1000) }
    },

    async put(key, value, expected) {
      const names = [name('record', key), name('deleted', key)]
      const generation = await run(PUT, names, value, String(expected ?? ''), unique())
      return generation === null ? false : Number(generation)
    },

    async delete(key, expected) {
      const names = [name('record', key), name('deleted', key)]
      return Number(await run(DELETE, names, String(expected ?? ''), unique(), String(TOMBSTONE_MS))) === 1
    },

    async *list(keyPrefix) {
      // A cluster has no nodes before it is connected, and this waits for it.
      await read(keyPrefix)
      // ioredis puts its prefix before names, but neither before patterns nor takes it off what it found.
      const head = `${client.options?.keyPrefix ?? ''}${name('record', '').slice(0, -1)}`
      const pattern = `${literally(head + keyPrefix)}*}`
      const seen = new Set<string>()
      for (const node of client.nodes?.('master') ?? [client]) {
        let cursor = '0'
        do {
          const [next, names] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_SIZE)
          for (const found of names) {
            const key = found.slice(head.length, -1)
            // Scanning may find a name twice.
            if (seen.has(key)) continue
            seen.add(key)
            yield key
          }
          cursor = next
        } while (cursor !== '0')
      }
    },

    async lock(key, ttlMs): Promise<CredentialLock | undefined> {
      const names = [name('lease', key)]
      const owner = unique()
      if (Number(await run(LOCK, names, owner, milliseconds(ttlMs))) !== 1) return undefined
      return {
        renew: async (ms) => Number(await run(RENEW, names, owner, milliseconds(ms))) === 1,
        release: async () => void (await run(RELEASE, names, owner)),
      }
    },

    async close() {
      if (closeClient) closed ??= client.quit()
      await closed
    },
  }
}
