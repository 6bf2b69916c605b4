/**
 * Callbacks and confirmations that are being answered, or were a moment ago. One that comes twice, from a double click or a
 * reload, joins the first one: a code can be exchanged only once, and trying again makes a strict provider revoke everything.
 */
import { USED_FLOWS } from '../credentials/upkeep/markers.js'
import { reach } from '../credentials/vault.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { CredentialStore } from '../storage/storage.js'

interface Entry {
  readonly promise: Promise<object | undefined>
  settledAt: number | undefined
}

/** Milliseconds for which a finished callback can still be joined. */
const REMEMBERED_FOR = 30_000
/** Milliseconds after which nobody can come with the same flow any more. */
const USED_FOR = 660_000
const POLL_INTERVAL = 150
const MAXIMUM = 10_000

export class Completions {
  readonly #entries = new Map<string, Entry>()
  readonly #used: { key: string; at: number }[] = []
  readonly #store: CredentialStore | undefined
  readonly #prefix: string
  readonly #keys: KeyRing
  readonly #clock: () => number

  /** @param store one that several processes share, so that they make one token request for a flow */
  constructor(client: string, store: CredentialStore | undefined, keys: KeyRing, clock: () => number) {
    this.#store = store?.shared === false ? undefined : store
    this.#prefix = `${USED_FLOWS}${client}/`
    this.#keys = keys
    this.#clock = clock
  }

  /**
   * Runs `complete` unless it ran already for this hash, in this process or another one.
   *
   * @returns `first` for the one caller whose `complete` ran
   */
  async run<Completion extends object>(
    hash: string,
    timeout: number,
    complete: () => Promise<Completion>,
  ): Promise<{ completion: Completion; first: boolean } | undefined> {
    this.#forget()
    const known = this.#entries.get(hash)
    if (known) {
      const completion = (await known.promise) as Completion | undefined
      return completion && { completion, first: false }
    }
    let first = true
    const promise = (async () => {
      const claimed = await this.#claim(hash).catch((error: unknown) => {
        // Nothing was sent: the same callback may come again.
        this.#entries.delete(hash)
        throw error
      })
      if (claimed !== false) {
        const completion = await complete()
        await this.#publish(hash, completion, claimed)
        return completion
      }
      first = false
      return this.#wait<Completion>(hash, timeout)
    })()
    const entry: Entry = { promise, settledAt: undefined }
    this.#entries.set(hash, entry)
    const settle = () => {
      entry.settledAt = this.#clock()
    }
    promise.then(settle, settle)
    const completion = await promise
    return completion && { completion, first }
  }

  /** @returns what was written for it, unless somebody else was first */
  async #claim(hash: string): Promise<number | false> {
    const store = this.#store
    if (!store) return 0
    const key = this.#prefix + hash
    const claimed = await reach(() => store.put(key, '', 0))
    // Beyond that many, a sweep takes them away.
    if (claimed !== false && this.#used.length < MAXIMUM) this.#used.push({ key, at: this.#clock() })
    return claimed
  }

  async #publish(hash: string, completion: object, claimed: number): Promise<void> {
    const sealed = this.#store && this.#keys.seal('outcome', [this.#prefix, hash], JSON.stringify(completion))
    // Only a repeated callback in another process misses it; this one has its answer.
    if (sealed) await this.#store?.put(this.#prefix + hash, sealed, claimed).catch(() => {})
  }

  async #wait<Completion>(hash: string, timeout: number): Promise<Completion | undefined> {
    const store = this.#store as CredentialStore
    for (let waited = 0; waited < timeout; waited += POLL_INTERVAL) {
      const stored = await reach(() => store.get(this.#prefix + hash))
      if (stored?.value) {
        // A process that is newer than this one may seal with a key that is not here yet: then it has to answer itself.
        try {
          return JSON.parse(this.#keys.open('outcome', [this.#prefix, hash], stored.value))
        } catch {
          return undefined
        }
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL))
    }
    return undefined
  }

  #forget(): void {
    const now = this.#clock()
    for (const [hash, { settledAt }] of this.#entries) {
      const over = settledAt !== undefined && now - settledAt > REMEMBERED_FOR
      // Oldest first: what is behind a younger one cannot be older.
      if (!over && this.#entries.size < MAXIMUM) break
      this.#entries.delete(hash)
    }
    while (this.#used[0] && now - this.#used[0].at > USED_FOR) {
      const { key } = this.#used.shift() as { key: string }
      reach(async () => this.#store?.delete(key)).catch(() => {})
    }
  }
}
