/**
 * A lease on an account while it is refreshed, where the store has any: whoever does not get it need not try. It saves
 * work and nothing else. What a lease says may be wrong, late or an error; the compare-and-set on the record decides.
 */

import type { Vault } from '../vault.js'
import { hashToken } from './state.js'

/** Milliseconds. Longer than a process is busy with anything else, and short enough to get over a crash. */
const LEASE_FOR = 5_000
/** A second renewal may fail before it is over. */
const RENEW_EVERY = LEASE_FOR / 3

export interface Lease {
  /** Ends it. Never rejects. */
  release(): Promise<void>
}

const NO_LEASE: Lease = { release: async () => {} }

/** @returns `undefined` when somebody else has it. Never rejects; without a lease to be had, one that does nothing. */
export async function takeLease(vault: Vault, accountId: string): Promise<Lease | undefined> {
  if (!vault.lock) return NO_LEASE
  try {
    // Accounts of one record are refreshed side by side.
    const lock = await vault.lock(LEASE_FOR, hashToken(accountId))
    if (!lock) return undefined
    const renewal = setInterval(async () => {
      try {
        if (!(await lock.renew(LEASE_FOR))) clearInterval(renewal)
      } catch {
        // The next one may be luckier.
      }
    }, RENEW_EVERY)
    renewal.unref()
    return {
      async release() {
        clearInterval(renewal)
        let timer: NodeJS.Timeout | undefined
        // It ends by itself by then: nobody who closes waits longer than that.
        const over = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, LEASE_FOR)
        })
        await Promise.race([over, (async () => lock.release())().catch(() => {})])
        clearTimeout(timer)
      },
    }
  } catch {
    return NO_LEASE
  }
}
