/** Moves stored records to the first key of the ring, one at a time. Called by the sweep. */
import { ClientMismatchError, CredentialsUnreadableError, type UnreadableReason } from '../../errors.js'
import { kidOf } from '../../keys/key-ring.js'
import type { CredentialStore } from '../../storage/storage.js'
import { type KeyRegistrar, type RecordSealer, reach } from '../vault.js'

/** What became of a record. */
export interface Resealed {
  /**
   * `current`: it was sealed with the first key. `resealed`: now it is. `lost_race`: somebody else wrote or deleted it
   * meanwhile, so look again. `unreadable`: it cannot be opened. `foreign`: it belongs to another client. `gone`: there is none.
   */
  readonly result: 'current' | 'resealed' | 'lost_race' | 'unreadable' | 'foreign' | 'gone'
  /** The id of the key that it was found sealed with, as far as it says so. */
  readonly kid?: string | undefined
  /** Why it cannot be opened. */
  readonly reason?: UnreadableReason
}

/**
 * Seals a record with the first key unless it is so already. What it says is opened and sealed again character by
 * character and never parsed: attempts that are under way stay, and so does what a later version wrote. By compare-and-set, so that
 * whoever uses the record meanwhile wins.
 *
 * @param registrar told of the first key before something is sealed with it
 * @throws {StoreUnavailableError}
 */
export async function resealIfNeeded(
  store: CredentialStore,
  sealer: RecordSealer,
  key: string,
  registrar?: KeyRegistrar,
): Promise<Resealed> {
  const stored = await reach(() => store.get(key))
  if (!stored) return { result: 'gone' }
  const kid = kidOf(stored.value)
  let text: string
  try {
    // Also what has the right key: a sweep that says "current" says that it can be read.
    text = sealer.openText(key, stored.value)
  } catch (error) {
    if (error instanceof ClientMismatchError) return { result: 'foreign', kid }
    if (error instanceof CredentialsUnreadableError) return { result: 'unreadable', kid, reason: error.reason }
    throw error
  }
  if (kid === sealer.kid) return { result: 'current', kid }
  await registrar?.register(sealer.kid)
  const sealed = sealer.sealText(key, text)
  const written = await reach(() => store.put(key, sealed, stored.generation))
  return { result: written === false ? 'lost_race' : 'resealed', kid }
}
