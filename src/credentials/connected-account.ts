/** What people and programs may see of a stored account. */
import type { Account, ReauthorizationReason } from './record.js'
import { type AccountStatus, statusOf } from './refresh/state.js'

/**
 * A connected account, without its secrets.
 *
 * @example
 * ```ts
 * import type { ConnectedAccount } from 'fastify-oauth2client'
 *
 * function label({ email, id, status }: ConnectedAccount): string {
 *   return status === 'needs_reauthorization' ? `${email ?? id}: connect it again` : (email ?? id)
 * }
 * ```
 */
export interface ConnectedAccount {
  /** The identity at the provider. */
  readonly id: string
  /** Its address as the provider gave it, for display; `null` where the provider gave none. */
  readonly email: string | null
  /** What was granted. */
  readonly scopes: readonly string[]
  /** Scopes that were asked for and not granted. */
  readonly declined: readonly string[]
  /**
   * `refreshing`: somebody is about to get a new access token. `in_doubt`: somebody tried, and what came of it is not known;
   * it is tried again when that is safe. `needs_reauthorization`: only the person can help. The access token may work in any of
   * the first three.
   */
  readonly status: AccountStatus
  /** With `needs_reauthorization`: what the provider said, or that it never said enough to go on. */
  readonly reason?: ReauthorizationReason
  /** Milliseconds since the epoch: when the access token was obtained. */
  readonly obtainedAt: number
  /** Milliseconds since the epoch of the access token's expiry; `undefined` when unknown. */
  readonly expiresAt: number | undefined
  /** Whether access lasts beyond the access token. */
  readonly refreshable: boolean
}

/**
 * @param age milliseconds since the record was written, by the store's clock
 * @param now milliseconds since the epoch
 */
export function connectedAccount(account: Account, age: number | undefined, now: number): ConnectedAccount {
  const { id, email = null, tokens, declined, dead } = account
  return {
    id,
    email,
    scopes: tokens.scopes,
    declined,
    status: statusOf(account, age, now),
    ...(dead && { reason: dead }),
    obtainedAt: tokens.obtainedAt,
    expiresAt: tokens.expiresAt,
    refreshable: !dead && tokens.refreshToken !== undefined,
  }
}
