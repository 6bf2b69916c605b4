/** Deletes everything that is stored for a user, and ends the grants at the provider. */
import { CredentialsUnreadableError } from '../../errors.js'
import type { RevocationOutcome } from '../../flows/revocation.js'
import { grantToken } from '../changes.js'
import { endAll } from '../ended.js'
import type { CredentialManager } from '../manager.js'
import type { Account } from '../record.js'
import { PendingRevocations } from './pending-revocations.js'

/** How {@link deleteUser} goes about what stands in its way. */
export interface DeleteUserOptions {
  /**
   * Deletes what cannot be read too, such as a record whose key was lost; the provider cannot be told about that. Default
   * `false`: it is kept, and the call rejects.
   */
  readonly evenUnreadable?: boolean
}

/**
 * What became of a user's grants. No account of the user is stored any more. What {@link deleteUser} resolves to, for
 * each client.
 */
export interface DeletedUser {
  /** Every account that was stored, by its identity at the provider, and what the provider said. */
  readonly accounts: readonly { readonly id: string; readonly remote: RevocationOutcome }[]
  /** How many of them the provider could not be told about yet. They are kept, sealed, until `sweep()` succeeds in that. */
  readonly pending: number
}

/** @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError} */
export async function deleteUser(
  manager: CredentialManager,
  user: string,
  { evenUnreadable = false }: DeleteUserOptions = {},
): Promise<DeletedUser> {
  const vault = manager.vaultOf(user)
  const pending = new PendingRevocations(manager)
  const key = pending.newKey()
  let removed: readonly Account[] = []
  const ending = () => removed.map((account) => ({ account: account.id, ...grantToken(account) }))
  const remove = () =>
    manager.keeper.remove(vault, async (record) => {
      removed = record.accounts
      await manager.moves.forbid(user)
      await pending.keep(key, ending())
      // Links that ended are still in browsers, and would be good again once somebody comes under this key.
      return record.ended && { ...record, accounts: [], ended: endAll(undefined, manager.registration.clock()) }
    })
  try {
    await remove()
    if (removed.length === 0) {
      // There may be something in a session that would come to the store yet, or is just coming.
      await manager.moves.forbid(user)
      await remove()
    }
  } catch (error) {
    // What was not deleted is not to be revoked by the next sweep. A store may also have deleted it and not said so.
    const left = await vault.read().then(
      (snapshot) => snapshot !== undefined && snapshot.record.accounts.length > 0,
      () => true,
    )
    if (removed.length > 0 && left) await pending.keep(key, []).catch(() => {})
    if (!evenUnreadable || !(error instanceof CredentialsUnreadableError)) throw error
    await vault.delete()
    // What this process still remembers of it goes too.
    await manager.keeper.load(vault)
  }
  if (removed.length === 0) return { accounts: [], pending: 0 }
  const { outcomes, left } = await pending.tell(ending())
  // It is done either way: a sweep finds what a store that fails now keeps of it.
  await pending.keepLeft(key, left).catch(() => {})
  const accounts = removed.map((account, index) => ({ id: account.id, remote: outcomes[index] as RevocationOutcome }))
  for (const [index, account] of removed.entries())
    manager.keeper.announce(vault, 'revoked', account, outcomes[index] as RevocationOutcome)
  return { accounts, pending: outcomes.filter((outcome) => outcome === 'failed').length }
}
