/** Writes down what a refresh came to, over whatever was written meanwhile, unless that made it pointless. */
import { CredentialsRequiredError, StoreUnavailableError } from '../errors.js'
import { revokeToken } from '../flows/revocation.js'
import type { Provider } from '../provider/provider.js'
import { type Account, accountOf, withAccount } from './record.js'
import { afterLostWrite, type Claim, receivedKind, receivedToken, type Settled } from './refresh-state.js'
import { settle } from './refreshed.js'
import type { Snapshot, Vault } from './vault.js'

/** How often the store is tried while there is something received to write: over about nine seconds. */
const WRITE_ATTEMPTS = 6
/** Milliseconds before the second time, doubled for each further one. */
const WRITE_AGAIN_AFTER = 300

export interface Commit {
  readonly vault: Vault
  /** What the claim wrote. */
  readonly claimed: Snapshot
  readonly account: Claim
  readonly outcome: Settled
}

export interface CommitOptions {
  readonly provider: Provider
  /** Told of every write; `changed` when it changed what the credentials are good for. */
  readonly onWritten: (vault: Vault, snapshot: Snapshot, account: Account, changed: boolean) => void
  readonly sleep: (ms: number) => Promise<void>
}

/**
 * @returns `undefined` when what is stored by now is newer
 * @throws {CredentialsRequiredError} when the grant was revoked meanwhile
 */
export async function commit(
  { vault, claimed, account, outcome }: Commit,
  { provider, onWritten, sleep }: CommitOptions,
): Promise<Snapshot | undefined> {
  const received = receivedToken(outcome)
  // A rotated refresh token exists nowhere else: a store that stumbles is given some time before it is lost.
  // The same goes for looking what is there when the write lost.
  const insist = async <T>(use: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await use()
      } catch (error) {
        const again = received !== undefined && attempt < WRITE_ATTEMPTS
        if (!again || !(error instanceof StoreUnavailableError)) throw error
        await sleep(WRITE_AGAIN_AFTER * 2 ** (attempt - 1))
      }
    }
  }
  for (let current = claimed; ; ) {
    const before = accountOf(current.record, account.id) as Account
    const after = settle(before, account, outcome, provider.scopes, provider.clock())
    const record = withAccount(current.record, after)
    const { generation: expected } = current
    const generation = await insist(() => vault.write(record, expected))
    if (generation !== false) {
      const snapshot = { record, generation }
      onWritten(vault, snapshot, after, after.dead !== undefined || after.tokens !== before.tokens)
      return snapshot
    }
    const read = await insist(() => vault.read())
    const found = accountOf(read?.record, account.id)
    switch (afterLostWrite(found, account, outcome)) {
      case 'revoke':
        if (received !== undefined) await revokeToken(provider, received, receivedKind(outcome))
        throw new CredentialsRequiredError()
      case 'drop':
        return undefined
      case 'write':
        current = read as Snapshot
    }
  }
}
