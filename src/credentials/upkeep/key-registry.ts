/**
 * Which keys stored records may be sealed with, written into the store beside them: so that an app whose ring lacks one of
 * these is refused when it starts, and not each of its users when they come. The vault registers, the plugin checks, the sweep retires.
 *
 * The entry is plain JSON and not authenticated. It holds nothing secret, and a signature would not help: the process that
 * has to be warned is the one that lacks the key which the signature was made with. Whoever can write to the store can take
 * entries out, which loses the warning, or put some in, which stops the next start with a message that says what to delete.
 * Both are less than what they can do to the records themselves.
 */
import { createHash } from 'node:crypto'
import { KeyInUseError, StoreUnavailableError } from '../../errors.js'
import { isKeyId, type KeyRing } from '../../keys/key-ring.js'
import type { CredentialStore } from '../../storage/storage.js'
import { type KeyRegistrar, reach } from '../vault.js'

export interface KeyRegistryOptions {
  /** One that can list its keys: where nobody can look, nobody can tell that a key is free again. */
  readonly store: CredentialStore
  readonly name: string
  readonly issuer: string
  readonly clientId: string
  /** Milliseconds since the epoch, as other processes count them too. */
  readonly clock: () => number
  /** Milliseconds that an app which starts waits for the store. Default 3,000. */
  readonly patience?: number
}

/** What is needed of the app's logger. */
export interface RegistryLog {
  warn(message: string): void
  error(message: string): void
}

interface Entry {
  readonly kid: string
  /** When somebody last said that they seal with it. */
  readonly at: number
}

interface Contents {
  /** Members of later minor versions survive. */
  readonly rest: Record<string, unknown>
  readonly entries: readonly Entry[]
  readonly generation: number
}

/** Milliseconds after which a process that still seals with a key says so again. */
const RENEW_AFTER = 600_000
/**
 * Milliseconds after which nobody can be sealing with a key any more: one process says it for all, so that what is written
 * down may be twice as old as that, and clocks differ.
 */
const FREE_AFTER = 3 * RENEW_AFTER

export class KeyRegistry implements KeyRegistrar {
  readonly #store: CredentialStore
  readonly #clock: () => number
  readonly #patience: number
  readonly #key: string
  readonly #registered = new Map<string, number>()
  /** Set while the check at the start is still owed. */
  #owed: { ring: KeyRing; log: RegistryLog } | undefined

  constructor({ store, name, issuer, clientId, clock, patience = 3_000 }: KeyRegistryOptions) {
    this.#store = store
    this.#clock = clock
    this.#patience = patience
    // Records of another registration cannot be read anyway: its keys are its own affair.
    const owner = createHash('sha256')
      .update(JSON.stringify([issuer, clientId]))
      .digest('base64url')
      .slice(0, 16)
    this.#key = `keys/${name}/${owner}`
  }

  /**
   * Notes that something is about to be sealed with a key. Once a process has done so, it costs nothing for ten minutes,
   * and a failure to say it again holds nobody up.
   *
   * @throws {StoreUnavailableError} the first time
   */
  async register(kid: string): Promise<void> {
    const now = this.#clock()
    const since = this.#registered.get(kid)
    if (since !== undefined && Math.abs(now - since) < RENEW_AFTER) return
    try {
      await this.#add(kid, now)
      this.#registered.set(kid, now)
    } catch (error) {
      if (since === undefined) throw error
    }
  }

  /**
   * @throws {KeyInUseError} when records may be sealed with a key that is not in the ring
   * @throws {StoreUnavailableError}
   */
  async check(ring: KeyRing): Promise<void> {
    const error = this.#missing(await this.#read(), ring)
    if (error) throw error
  }

  /**
   * The same for an app that starts. A store that does not answer stops nobody: the first write looks again and logs what
   * it finds.
   *
   * @throws {KeyInUseError}
   */
  async checkAtStart(ring: KeyRing, log: RegistryLog): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreUnavailableError()), this.#patience)
    })
    try {
      await Promise.race([this.check(ring), tooLate])
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error
      this.#owed = { ring, log }
      log.warn('The credential store does not answer, so encryptionKeys could not be checked against what it holds.')
    } finally {
      clearTimeout(timer)
    }
  }

  /** The ids of all keys that records may be sealed with. */
  async listed(): Promise<string[]> {
    return ((await this.#read())?.entries ?? []).map(({ kid }) => kid)
  }

  /**
   * Takes out keys that no record is sealed with, unless somebody may have written with them since they were looked for.
   *
   * @param kids what a look at every record did not find
   * @returns those that are free now
   */
  async retire(kids: readonly string[]): Promise<string[]> {
    for (;;) {
      const contents = await this.#read()
      const now = this.#clock()
      const free = (contents?.entries ?? []).filter(
        ({ kid, at }) => kids.includes(kid) && Math.abs(now - at) >= FREE_AFTER,
      )
      if (!contents || free.length === 0) return []
      const rest = contents.entries.filter((entry) => !free.includes(entry))
      if (await this.#write(contents, rest)) return free.map(({ kid }) => kid)
    }
  }

  async #add(kid: string, now: number): Promise<void> {
    for (;;) {
      const contents = await this.#read()
      if (this.#owed) {
        const error = this.#missing(contents, this.#owed.ring)
        if (error) this.#owed.log.error(error.message)
        this.#owed = undefined
      }
      // A later version keeps its own books, and knows this key: it was there before.
      if (!contents) return
      const known = contents.entries.find((entry) => entry.kid === kid)
      if (known && Math.abs(now - known.at) < RENEW_AFTER) return
      const others = contents.entries.filter((entry) => entry !== known)
      if (await this.#write(contents, [...others, { ...known, kid, at: now }])) return
    }
  }

  #missing(contents: Contents | undefined, ring: KeyRing): Error | undefined {
    const missing = (contents?.entries ?? []).map(({ kid }) => kid).filter((kid) => !ring.kids.includes(kid))
    return missing.length === 0 ? undefined : new KeyInUseError(missing.join(', '), this.#key)
  }

  /** `undefined` for what a later version wrote. */
  async #read(): Promise<Contents | undefined> {
    const stored = await reach(() => this.#store.get(this.#key))
    const value = parse(stored?.value)
    if (typeof value?.v === 'number' && value.v > 1) return undefined
    const { keys, ...rest } = value ?? {}
    // What is damaged is replaced: only a warning is lost, and refusing to write would cost more than that.
    return { rest, entries: Array.isArray(keys) ? keys.filter(isEntry) : [], generation: stored?.generation ?? 0 }
  }

  async #write({ rest, generation }: Contents, entries: readonly Entry[]): Promise<boolean> {
    const value = JSON.stringify({ ...rest, v: 1, keys: entries })
    return (await reach(() => this.#store.put(this.#key, value, generation))) !== false
  }
}

function parse(text: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isEntry(value: unknown): value is Entry {
  const entry = value as Partial<Entry> | null
  return isKeyId(entry?.kid) && Number.isFinite(entry?.at)
}
