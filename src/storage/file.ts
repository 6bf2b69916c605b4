/**
 * Credentials in one JSON file: for programs on one machine, without a database.
 *
 * @module
 */
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { OptionError } from '../errors.js'
import { type Contents, emptyContents, parseContents, serializeContents } from './file/contents.js'
import { readTightly, replaceFile } from './file/replace.js'
import type { CredentialLock, CredentialStore } from './storage.js'

/** Options of {@link fileStore}. */
export interface FileStoreOptions {
  /**
   * The file. It and its directory are created when they are missing (modes 0600 and 0700). While it is written there
   * is a directory beside it whose name ends with `.lock`.
   */
  path: string
  /** The time in milliseconds. Default `Date.now`. */
  clock?: () => number
}

/** What {@link fileStore} makes: it has every optional method of a store but `peek`. */
export interface FileStore extends Required<Omit<CredentialStore, 'peek'>> {}

const TOMBSTONE_MS = 3_600_000

/** Changes the contents; `false` as `changed` when there is nothing to write. May run more than once. */
type Change<T> = (contents: Contents) => { result: T; changed: boolean }

interface Job {
  readonly change: Change<unknown>
  resolve(result: unknown): void
  reject(error: unknown): void
}

/**
 * Credentials in one JSON file: for command-line programs, and for apps on one machine without a database. Any number
 * of stores in any number of processes may use the file at once. It must be on a local disk: network file systems do not
 * promise what this relies on.
 *
 * The file is read as a whole for every `get` and replaced as a whole by every write; writes that are made at the same
 * time share one replacement. That is fine for some hundred credentials. Take SQLite for more.
 *
 * It never exists half-written, whenever a process dies or the power fails: a new file is written, flushed to the disk
 * and renamed. What a killed process left behind is cleared away by the next writer, after 3 s. Readers never wait.
 *
 * Only its owner can read the file: its mode is 0600, and is made so if it was wider. Symbolic links, directories and
 * whatever else is no regular file are refused. A file that is damaged or was written by a later version is an error
 * and is left as it is; a missing one holds nothing. There are no modes on Windows, so protect the directory there.
 *
 * @throws OptionError without a path. Methods reject with CredentialsUnreadableError when the file is not what it
 * should be, and with StoreUnavailableError when the system refuses something or other processes write for more than 10 s on
 * end. Which file it is and what can be done about it is in the error's `cause`, for messages may reach browsers.
 *
 * @example
 * ```ts
 * import { fileStore } from 'fastify-oauth2client/storage/file'
 *
 * const store = fileStore({ path: 'data/credentials.json' })
 * const generation = await store.put('user/alice', 'sealed', 0)
 * ```
 */
export function fileStore({ path, clock = Date.now }: FileStoreOptions): FileStore {
  if (typeof path !== 'string' || path === '') throw new OptionError('path', 'must be the name of a file.')
  // Absolute, so that it is the same file when the process changes its directory.
  const file = resolve(path)
  let jobs: Job[] = []
  let working: Promise<void> | undefined

  async function read(): Promise<Contents> {
    const text = await readTightly(file)
    return text === undefined ? emptyContents() : parseContents(text, file)
  }

  function update<T>(change: Change<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      jobs.push({ change, resolve: resolve as Job['resolve'], reject })
      working ??= work()
    })
  }

  async function work(): Promise<void> {
    // Whatever is asked for in the same turn shares one replacement.
    await Promise.resolve()
    while (jobs.length > 0) {
      const batch = jobs
      jobs = []
      let results: unknown[] = []
      try {
        await replaceFile(file, async () => {
          const contents = await read()
          const outcomes = batch.map(({ change }) => change(contents))
          results = outcomes.map(({ result }) => result)
          if (!outcomes.some(({ changed }) => changed)) return undefined
          prune(contents)
          return serializeContents(contents)
        })
        for (const [index, job] of batch.entries()) job.resolve(results[index])
      } catch (error) {
        for (const job of batch) job.reject(error)
      }
    }
    working = undefined
  }

  function prune({ entries, leases }: Contents): void {
    const now = clock()
    for (const [key, { value, at }] of entries) {
      if (value === undefined && now - at >= TOMBSTONE_MS) entries.delete(key)
    }
    for (const [key, { until }] of leases) if (until <= now) leases.delete(key)
  }

  function write(contents: Contents, key: string, value: string | undefined): number {
    // One counter for all keys outlives the tombstones. The wall clock is there for files that vanish or are restored
    // from a copy: nobody writes a million times per second, so it is above all that there was. It is not the injected
    // clock, which may start at zero.
    contents.generation = Math.max(contents.generation + 1, Date.now() * 1000)
    contents.entries.set(key, { value, generation: contents.generation, at: clock() })
    return contents.generation
  }

  return {
    name: 'file',
    shared: true,

    async get(key) {
      const entry = (await read()).entries.get(key)
      if (entry?.value === undefined) return undefined
      return { value: entry.value, generation: entry.generation, age: Math.max(0, clock() - entry.at) }
    },

    put(key, value, expected) {
      return update<number | false>((contents) => {
        const entry = contents.entries.get(key)
        const found = entry?.value === undefined ? 0 : entry.generation
        if (expected !== undefined && expected !== found) return { result: false, changed: false }
        return { result: write(contents, key, value), changed: true }
      })
    },

    delete(key, expected) {
      return update((contents) => {
        const entry = contents.entries.get(key)
        const matches = entry?.value !== undefined && (expected === undefined || expected === entry.generation)
        if (matches) write(contents, key, undefined)
        return { result: matches, changed: matches }
      })
    },

    async *list(prefix) {
      for (const [key, { value }] of (await read()).entries) {
        if (value !== undefined && key.startsWith(prefix)) yield key
      }
    },

    async lock(key, ttlMs): Promise<CredentialLock | undefined> {
      const owner = randomUUID()
      const mine = ({ leases }: Contents) => leases.get(key)?.owner === owner
      const taken = await update(({ leases }) => {
        const free = (leases.get(key)?.until ?? Number.NEGATIVE_INFINITY) <= clock()
        if (free) leases.set(key, { owner, until: clock() + ttlMs })
        return { result: free, changed: free }
      })
      if (!taken) return undefined
      return {
        renew: (ms) =>
          update((contents) => {
            const held = mine(contents)
            if (held) contents.leases.set(key, { owner, until: clock() + ms })
            return { result: held, changed: held }
          }),
        release: () =>
          update((contents) => ({ result: undefined, changed: mine(contents) && contents.leases.delete(key) })),
      }
    },

    async close() {
      await working
    },
  }
}
