/** Where the command line keeps what it keeps: a folder in the person's own configuration, readable by them alone. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { readTightly, replaceFile } from '../storage/file/replace.js'
import type { Io } from './command.js'

/** The folder: `OAUTH2CLIENT_HOME`, or where the system wants configuration to be. */
export function home({ env, cwd }: Io, platform: NodeJS.Platform = process.platform): string {
  if (env.OAUTH2CLIENT_HOME) return resolve(cwd, env.OAUTH2CLIENT_HOME)
  const person = env.HOME || env.USERPROFILE || homedir()
  // A relative one is to be ignored, says the XDG Base Directory Specification.
  const xdg = env.XDG_CONFIG_HOME && isAbsolute(env.XDG_CONFIG_HOME) ? env.XDG_CONFIG_HOME : undefined
  const usual =
    platform === 'win32'
      ? (env.APPDATA ?? join(person, 'AppData', 'Roaming'))
      : platform === 'darwin'
        ? join(person, 'Library', 'Application Support')
        : join(person, '.config')
  return join(xdg ?? usual, 'fastify-oauth2client')
}

/** Keys of the default store: one a line, the first one seals. `undefined` before the first login. */
export async function readKeys(path: string): Promise<string[] | undefined> {
  const text = await readTightly(path)
  const keys = text?.split(/\s+/).filter(Boolean)
  return keys?.length ? keys : undefined
}

/** The same for a file that somebody else made, whose mode is theirs to choose. */
export async function readKeyFile(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).split(/\s+/).filter(Boolean)
}

/** Makes the key of the default store, unless there is one: two first logins at once get the same. */
export async function ensureKey(path: string): Promise<string[]> {
  await replaceFile(path, async () =>
    (await readKeys(path)) ? undefined : `${randomBytes(32).toString('base64url')}\n`,
  )
  return (await readKeys(path)) as string[]
}

/** What `login` was told, so that later commands need not be told again. Holds no secret. */
export interface Login {
  readonly clientSecrets?: string
  readonly clientId?: string
  readonly issuer?: string
  readonly provider?: string
  readonly store?: string
  readonly keyFile?: string
  /** Whether the client's secret came from the environment, where later commands have to find it too. */
  readonly secretInEnv?: boolean
  /** The file with the client's private key. */
  readonly clientKey?: string
  /** The same of that key. */
  readonly keyInEnv?: boolean
  readonly user: string
  /** The identity that signed in last. */
  readonly account?: string
}

interface Logins {
  readonly last: string
  readonly logins: Readonly<Record<string, Login>>
}

const file = (io: Io) => join(home(io), 'logins.json')

export async function readLogins(io: Io): Promise<Logins | undefined> {
  const text = await readTightly(file(io))
  if (text === undefined) return undefined
  try {
    const { v, last, logins } = JSON.parse(text)
    if (v === 1 && typeof last === 'string' && typeof logins === 'object' && logins) return { last, logins }
  } catch {
    // Said below.
  }
  throw new Error(`${file(io)} is damaged, or of a later version. Remove it, and log in again.`)
}

export async function rememberLogin(io: Io, name: string, login: Login): Promise<void> {
  await replaceFile(file(io), async () => {
    const before = await readLogins(io)
    return `${JSON.stringify({ v: 1, last: name, logins: { ...before?.logins, [name]: login } }, null, 2)}\n`
  })
}
