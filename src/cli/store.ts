/** From `--store` to a credential store and the keys of what is in it. */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { FileStore } from '../storage/file.js'
import { fileStore } from '../storage/file.js'
import { createCredentialTables, type SqlStore, sqlStore } from '../storage/sql.js'
import { type Io, UsageError } from './command.js'
import { parseDatabaseUrl } from './database.js'
import { ensureKey, home, readKeyFile, readKeys } from './places.js'

export interface OpenStore {
  readonly store: FileStore | SqlStore
  readonly keys: readonly string[]
  /** What people call it. */
  readonly label: string
  /** As it may be written down: absolute, and `undefined` when it holds a password. */
  readonly remembered: string | undefined
  /** Takes passwords out of what others say about it. */
  redact(text: string): string
}

export interface StoreSpec {
  /** `file:`, `sqlite:`, or the URL of a database. Default: a file of the person's own. */
  readonly store?: string | undefined
  readonly keyFile?: string | undefined
}

/**
 * @param create whether a first login may make what is missing
 * @returns `undefined` when there is nothing yet, and nothing was to be made
 * @throws {UsageError} {@link MissingPeerError}
 */
export async function openStore(
  { store: spec, keyFile }: StoreSpec,
  io: Io,
  create = false,
): Promise<OpenStore | undefined> {
  if (spec === undefined) {
    const path = join(home(io), 'credentials.json')
    const keyPath = keyFile === undefined ? join(home(io), 'key') : undefined
    const keys = keyPath
      ? await (create ? ensureKey(keyPath) : readKeys(keyPath))
      : await readKeyFile(resolve(io.cwd, keyFile as string))
    if (!keys) return undefined
    return { store: fileStore({ path }), keys, label: path, remembered: undefined, redact: (text) => text }
  }
  const keys = await keysFor(keyFile, io)
  if (spec.startsWith('file:')) {
    const rest = spec.slice('file:'.length)
    if (rest === '' || rest.startsWith('//')) {
      throw new UsageError('after "file:" comes the path of a file, as in file:data/credentials.json.')
    }
    const path = resolve(io.cwd, rest)
    return { store: fileStore({ path }), keys, label: path, remembered: `file:${path}`, redact: (text) => text }
  }
  if (!/^[a-z]+:/i.test(spec)) throw new UsageError('--store begins with file:, sqlite:, postgres:// or mysql://.')
  const database = parseDatabaseUrl(spec)
  if (!create && database.dialect === 'sqlite') await checkThere(sqlitePath(spec, io))
  const db = await database.open(io.cwd)
  // A file of one's own is made on the way; tables of a server are a matter of `migrate`.
  if (create && database.dialect === 'sqlite') await createCredentialTables(db)
  return {
    store: sqlStore({ db, closeDb: true }),
    keys,
    label: database.dialect === 'sqlite' ? spec : hostOf(spec),
    remembered: rememberable(spec, io),
    redact: database.redact,
  }
}

/** An app's records are sealed with the app's keys; a key of our own would lock it out of what we write. */
async function keysFor(keyFile: string | undefined, { env, cwd }: Io): Promise<string[]> {
  const keys =
    keyFile === undefined
      ? (env.OAUTH2_KEY ?? '').split(/[\s,]+/).filter(Boolean)
      : await readKeyFile(resolve(cwd, keyFile))
  if (keys.length > 0) return keys
  throw new UsageError(
    '--store needs the encryptionKeys of the app: set OAUTH2_KEY (several with commas, the first one seals), or write --key-file.',
  )
}

/** SQLite would make a file of a name that was typed wrongly. */
async function checkThere(path: string): Promise<void> {
  try {
    await stat(path)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ENOENT') throw cause
    throw new Error(`${path} is not there. "oauth2client login" makes it, and "oauth2client migrate" does.`, { cause })
  }
}

function sqlitePath(spec: string, { cwd }: Io): string {
  return resolve(cwd, spec.slice('sqlite:'.length))
}

function rememberable(spec: string, io: Io): string | undefined {
  if (/^sqlite:/i.test(spec)) return `sqlite:${sqlitePath(spec, io)}`
  const { password, searchParams } = new URL(spec)
  return password === '' && !searchParams.has('password') ? spec : undefined
}

function hostOf(spec: string): string {
  const { protocol, host, pathname } = new URL(spec)
  return `${protocol}//${host}${pathname}`
}
