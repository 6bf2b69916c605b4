/**
 * Accounts that were moved from sessions into the store: each once. A session that is a cookie can come back at any time, with
 * tokens that were revoked, replaced or deleted since; what the store decided meanwhile wins over that.
 */
import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { StoreUnavailableError } from '../../errors.js'
import type { CredentialStore } from '../../storage/storage.js'
import { reach } from '../vault.js'
import { MOVED_ACCOUNTS } from './markers.js'

const MOVING = 'moving'
const MOVED = 'moved'
/** Removed since, or never to come. */
const FORBIDDEN = 'forbidden'
/** Milliseconds after which a move that did not end is taken for abandoned. */
const ABANDONED_AFTER = 10_000
const POLL_INTERVAL = 50
const POLLS = 40

/** A move that is to be made, by whoever has this. */
export interface Move {
  /** Notes that the account is in the store now. `false`: it was removed meanwhile, and has to go again. */
  done(): Promise<boolean>
}

export class Moves {
  readonly #prefix: string
  readonly #store: () => CredentialStore

  constructor(name: string, store: () => CredentialStore) {
    this.#prefix = `${MOVED_ACCOUNTS}${name}/`
    this.#store = store
  }

  /**
   * The right to move an account, or `undefined` when it was moved before, or may not be any more. Waits for a move that is
   * under way.
   *
   * @throws {StoreUnavailableError}
   */
  async claim(user: string, account: string): Promise<Move | undefined> {
    const key = this.#key(user, account)
    const store = this.#store()
    const gone = async () => (await reach(() => store.get(this.#key(user)))) !== undefined
    if (await gone()) return undefined
    for (let poll = 0; poll < POLLS; poll++) {
      const stored = await reach(() => store.get(key))
      if (stored && stored.value !== MOVING) return undefined
      // A store that tells no age is watched for as long as anybody waits.
      const abandoned = stored?.age === undefined ? poll === POLLS - 1 : stored.age > ABANDONED_AFTER
      if (!stored || abandoned) {
        const mine = await reach(() => store.put(key, MOVING, stored?.generation ?? 0))
        // Whoever removes forbids first, and then looks for what there is to remove. Whoever moves writes first, and then looks.
        const done = async () => (await reach(() => store.put(key, MOVED, mine as number))) !== false && !(await gone())
        if (mine !== false) return { done }
      }
      await setTimeout(POLL_INTERVAL)
    }
    throw new StoreUnavailableError()
  }

  /**
   * The account was removed from the store: no session may bring it back.
   *
   * @param account without one, no session may bring anything of that user's
   */
  async forbid(user: string, account?: string): Promise<void> {
    await reach(() => this.#store().put(this.#key(user, account), FORBIDDEN))
  }

  /** Says whose it is to those who know already, and to nobody else. */
  #key(...place: readonly (string | undefined)[]): string {
    return (
      this.#prefix +
      createHash('sha256')
        .update(JSON.stringify(place.filter((part) => part !== undefined)))
        .digest('base64url')
    )
  }
}
