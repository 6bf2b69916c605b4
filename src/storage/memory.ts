/**
 * Credentials in this process's memory: for tests, and for one process that may forget.
 *
 * @module
 */
import type { CredentialLock, CredentialStore, StoredCredentials } from './storage.js'

/** What `memoryStore` keeps in its map for a key. Treat it as opaque. See {@link memoryStore}. */
export interface MemoryEntry {
  /** `undefined` marks a tombstone: the value was deleted. */
  readonly value: string | undefined
  /** Of the value, or of the tombstone. */
  readonly generation: number
  /** When it was written or deleted, in milliseconds of the store's clock. */
  readonly at: number
}

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /** Where the entries are kept: a `Map`, or something that behaves like one. Default: a new `Map`. */
  map?: Map<string, MemoryEntry>
  /** The time in milliseconds. Default `Date.now`. */
  clock?: () => number
}

/**
 * The `memoryStore` variant of a store: it has every optional method but `close`, for there is nothing to close.
 * {@link memoryStore} makes it.
 */
export type MemoryStore = CredentialStore & Required<Pick<CredentialStore, 'list' | 'lock' | 'peek'>>

const TOMBSTONE_MS = 3_600_000
/** How many leftovers a write looks at. More than one, so that they cannot pile up faster than they are removed. */
const PURGE_STEPS = 4

/** What belongs to a map rather than to a store, so that two stores on one map agree on it. */
interface Shared {
  generation: number
  /** Deleted keys and when they were deleted, oldest first. */
  readonly tombstones: Map<string, number>
  readonly leases: Map<string, { owner: symbol; until: number }>
}

const sharedByMap = new WeakMap<Map<string, MemoryEntry>, Shared>()

function sharedOf(map: Map<string, MemoryEntry>): Shared {
  const known = sharedByMap.get(map)
  if (known) return known
  // One counter for all keys, so that a key whose tombstone is gone starts above everything that it ever had. A map
  // that comes from an earlier process may have lost its highest tombstones already: microseconds of the wall clock are
  // above them too, because no process makes a million writes per second for its whole life. Not the injected clock,
  // which may start at zero.
  let generation = Date.now() * 1000
  const tombstones = new Map<string, number>()
  for (const [key, entry] of map) {
    generation = Math.max(generation, entry.generation)
    if (entry.value === undefined) tombstones.set(key, entry.at)
  }
  const shared: Shared = { generation, tombstones, leases: new Map() }
  sharedByMap.set(map, shared)
  return shared
}

/**
 * Credentials in this process's memory: for tests, for a single process, and for apps that may forget everybody when
 * they restart. Nothing is written anywhere, hence `shared: false`.
 *
 * Stores that are given the same `map` see each other's entries and leases. A map may be handed over to a later store;
 * generations keep growing. There are no timers: tombstones older than an hour go away a few at a time, on writes.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'fastify-oauth2client/storage/memory'
 *
 * const store = memoryStore()
 * const generation = await store.put('user/alice', 'sealed', 0)
 * const stored = await store.get('user/alice')
 * console.log(generation === stored?.generation, stored?.age)
 * ```
 */
export function memoryStore({
  map = new Map<string, MemoryEntry>(),
  clock = Date.now,
}: MemoryStoreOptions = {}): MemoryStore {
  const shared = sharedOf(map)
  const { tombstones, leases } = shared

  function live(key: string): (MemoryEntry & { readonly value: string }) | undefined {
    const entry = map.get(key)
    return entry?.value === undefined ? undefined : (entry as MemoryEntry & { readonly value: string })
  }

  function write(key: string, value: string | undefined): number {
    shared.generation += 1
    const entry = { value, generation: shared.generation, at: clock() }
    map.set(key, entry)
    tombstones.delete(key)
    if (value === undefined) tombstones.set(key, entry.at)
    purge(entry.at)
    return entry.generation
  }

  function purge(now: number): void {
    let steps = PURGE_STEPS
    for (const [key, at] of tombstones) {
      if (steps-- === 0 || now - at < TOMBSTONE_MS) return
      tombstones.delete(key)
      if (live(key) === undefined) map.delete(key)
    }
  }

  function peek(key: string): StoredCredentials | undefined {
    const entry = live(key)
    return entry && { value: entry.value, generation: entry.generation, age: Math.max(0, clock() - entry.at) }
  }

  return {
    name: 'memory',
    shared: false,
    peek,
    get: async (key) => peek(key),

    async put(key, value, expected) {
      if (expected !== undefined && (live(key)?.generation ?? 0) !== expected) return false
      return write(key, value)
    },

    async delete(key, expected) {
      const entry = live(key)
      if (!entry || (expected !== undefined && entry.generation !== expected)) return false
      write(key, undefined)
      return true
    },

    async *list(prefix) {
      // A copy, so that a key that is deleted and written again meanwhile is not listed twice.
      for (const key of [...map.keys()]) if (key.startsWith(prefix) && live(key)) yield key
    },

    async lock(key, ttlMs): Promise<CredentialLock | undefined> {
      let steps = PURGE_STEPS
      for (const [other, lease] of leases) {
        if (steps-- === 0) break
        if (lease.until <= clock()) leases.delete(other)
      }
      if ((leases.get(key)?.until ?? Number.NEGATIVE_INFINITY) > clock()) return undefined
      const owner = Symbol(key)
      const mine = () => leases.get(key)?.owner === owner
      leases.set(key, { owner, until: clock() + ttlMs })
      return {
        async renew(ms) {
          if (!mine()) return false
          leases.set(key, { owner, until: clock() + ms })
          return true
        },
        async release() {
          if (mine()) leases.delete(key)
        },
      }
    },
  }
}
