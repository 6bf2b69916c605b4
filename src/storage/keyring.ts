/**
 * Credentials in the keyring of the operating system. Used by command-line and desktop programs.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { OptionError } from '../errors.js'
import { fileStore } from './file.js'
import { keyringEntries } from './keyring/entries.js'
import type { CredentialStore, StoredCredentials } from './storage.js'

/** Options of {@link keyringStore}. */
export interface KeyringStoreOptions {
  /** The program, as people see it in their keyring: `my-app`. Programs of the same name share credentials. */
  service: string
  /**
   * The file beside the keyring: which keys there are, their generations and who has a lease, but no secret. Every process that
   * uses these credentials has to use the same one. Default: a file for each `service` in the person's data directory
   * (`$XDG_DATA_HOME` or `~/.local/share`, `~/Library/Application Support`, `%APPDATA%`).
   */
  path?: string
  /**
   * How many characters go into one entry; longer texts are cut into several. Default 1,200 on Windows, where an entry takes
   * 2,560 bytes, and 65,536 elsewhere.
   */
  partLength?: number
  /** The time in milliseconds. Default `Date.now`. */
  clock?: () => number
}

/** What {@link keyringStore} makes: it has every optional method of a store but `peek`. */
export interface KeyringStore extends Required<Omit<CredentialStore, 'peek'>> {}

/**
 * Credentials in the keyring of the operating system: the Keychain of macOS, the Credential Manager of Windows, the Secret
 * Service (GNOME Keyring, KWallet, KeePassXC) elsewhere. For programs on a person's own machine; needs `@napi-rs/keyring`.
 *
 * A keyring has no compare-and-set, and neither can two processes be kept apart in it. So what the keyring holds is written
 * once and never changed, and a small file beside it, a `fileStore`, says which of it counts: values are in the keyring,
 * keys, generations and leases in the file. Any number of processes may use both at once. A process that dies between the
 * two leaves an entry in the keyring that nothing points to, and that is all.
 *
 * It is made for the credentials of one person: on Linux every entry that is touched takes some 20 ms and a connection, which the
 * library closes only when its garbage is collected. For hundreds of credentials take another store.
 *
 * An entry that was taken out of the keyring by hand counts as deleted. Is the file lost, so are the credentials: people sign
 * in again. Both are of one machine and one person; do not put the file where others share it.
 *
 * @throws {OptionError} without a service. Methods reject with KeyringUnavailableError where there is no keyring or it stays
 * locked (on servers, in containers: take `fileStore`), with MissingPeerError when `@napi-rs/keyring` is not installed, with
 * CredentialsUnreadableError when something else wrote into the entry, and as those of `fileStore` do.
 *
 * @example
 * ```ts
 * import { keyringStore } from 'fastify-oauth2client/storage/keyring'
 *
 * const store = keyringStore({ service: 'my-app' })
 * const generation = await store.put('user/alice', 'sealed', 0)
 * ```
 */
export function keyringStore({
  service,
  path = defaultPath(service),
  partLength = process.platform === 'win32' ? 1200 : 65_536,
  clock = Date.now,
}: KeyringStoreOptions): KeyringStore {
  if (typeof service !== 'string' || service === '' || service.includes('\0')) {
    throw new OptionError('service', 'must be the name of your program, such as "my-app".')
  }
  if (!Number.isSafeInteger(partLength) || partLength < 1) {
    throw new OptionError('partLength', 'must be a positive number of characters.')
  }
  const ledger = fileStore({ path, clock })
  const entries = keyringEntries(service, partLength)
  let turn: Promise<void> = Promise.resolve()

  /**
   * What the ledger points to, and what `use` makes of it in the keyring; nothing where it is gone. Somebody may replace it in
   * between: only what the ledger still points to afterwards is really missing, or damaged.
   */
  async function follow<T>(
    key: string,
    use: (key: string, pointer: string) => Promise<T | undefined>,
  ): Promise<{ pointer?: StoredCredentials; result?: T | undefined }> {
    let pointer = await ledger.get(key)
    while (pointer) {
      let result: T | undefined
      let failure: unknown
      try {
        result = await use(key, pointer.value)
        if (result !== undefined) return { pointer, result }
      } catch (error) {
        failure = error
      }
      const after = await ledger.get(key)
      if (after?.generation === pointer.generation) {
        if (failure) throw failure
        return { pointer }
      }
      pointer = after
    }
    return {}
  }

  /** Writes of one process wait for each other, so that losers find out before they have written to the keyring. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work)
    turn = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }

  return {
    name: 'keyring',
    shared: true,

    async get(key) {
      const { pointer, result } = await follow(key, entries.read)
      return pointer && result !== undefined ? { ...pointer, value: result } : undefined
    },

    put: (key, value, expected) =>
      inTurn(async () => {
        const checked = expected === undefined ? undefined : await follow(key, entries.has)
        if (expected !== undefined && expected !== (checked?.result ? checked.pointer?.generation : 0)) return false
        const added = await entries.add(key, value)
        for (;;) {
          const before = checked ? checked.pointer : await ledger.get(key)
          // Where this rejects, the ledger may still point to what was added: then it stays.
          const generation = await ledger.put(key, added, before?.generation ?? 0)
          if (generation === false && !checked) continue
          const superseded = generation === false ? added : before?.value
          if (superseded !== undefined) await entries.remove(key, superseded)
          return generation
        }
      }),

    delete: (key, expected) =>
      inTurn(async () => {
        for (;;) {
          // Also to see that the keyring can be reached: what the ledger has forgotten, nobody removes there.
          const { pointer, result: there } = await follow(key, entries.has)
          if (!pointer || (expected !== undefined && expected !== pointer.generation)) return false
          if (await ledger.delete(key, pointer.generation)) {
            await entries.remove(key, pointer.value)
            return there === true
          }
        }
      }),

    async *list(prefix) {
      for await (const key of ledger.list(prefix)) if ((await follow(key, entries.has)).result) yield key
    },

    lock: (key, ttlMs) => ledger.lock(key, ttlMs),

    async close() {
      await turn
      await ledger.close()
    },
  }
}

function defaultPath(service: unknown): string {
  const home = homedir()
  const { APPDATA, XDG_DATA_HOME } = process.env
  const elsewhere = XDG_DATA_HOME || join(home, '.local', 'share')
  const own: Partial<Record<NodeJS.Platform, string>> = {
    win32: APPDATA || join(home, 'AppData', 'Roaming'),
    darwin: join(home, 'Library', 'Application Support'),
  }
  // A digest, because services may be called anything and file names may not.
  const name = createHash('sha256').update(String(service)).digest('hex').slice(0, 24)
  return join(own[process.platform] ?? elsewhere, 'fastify-oauth2client', `keyring-${name}.json`)
}
