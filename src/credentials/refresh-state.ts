/**
 * When a refresh token may be sent: a pure function over what is stored, so that it can be checked on its own.
 *
 * The record is its own journal. A process writes `attempt` with compare-and-set before it sends the refresh token, so at
 * most one process sends it while that one lives. What happens when it dies is decided here too.
 */
import type { RotationProfile } from '../provider/preset.js'
import type { Account } from './record.js'

/** Milliseconds after which an attempt without result is taken for abandoned. */
export const ABANDONED_AFTER = 30_000
/** Milliseconds between two looks at an abandoned attempt: a record that was only just written is not one. */
export const SECOND_LOOK_AFTER = 2_000

/** What there is to know besides the account itself. */
export interface RefreshContext {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** An access token that will not do: an API refused it, or it is about to expire. */
  readonly rejected?: string | undefined
  readonly rotation: RotationProfile['rotation']
  /** Milliseconds since the record was written, by the store's clock. */
  readonly age: number
  /** Milliseconds since this process first saw the attempt. */
  readonly watched: number
}

/**
 * - `use`: there is an access token that will do
 * - `claim`: write an attempt, then send
 * - `take_over`: the same, over an abandoned attempt
 * - `wait`: somebody else is at it
 * - `reauthorize`: only a person can help
 */
export type RefreshDecision = 'use' | 'claim' | 'take_over' | 'wait' | 'reauthorize'

/** Whether the access token can still be used. Unknown lifetimes last until an API says no. */
export function isLive(account: Account, now: number, rejected?: string): boolean {
  const { accessToken, expiresAt } = account.tokens
  return !account.dead && accessToken !== rejected && (expiresAt === undefined || now < expiresAt)
}

export function decideRefresh(account: Account, context: RefreshContext): RefreshDecision {
  if (isLive(account, context.now, context.rejected)) return 'use'
  if (account.dead || account.tokens.refreshToken === undefined) return 'reauthorize'
  if (!account.attempt) return 'claim'
  const abandoned = context.age >= ABANDONED_AFTER && context.watched >= SECOND_LOOK_AFTER
  // A provider that punishes reuse is only asked again when there is nothing left to lose: not while the access token,
  // even one that should be renewed soon, has not reached its end.
  const lasting = context.rotation === 'strict' && isLive(account, context.now)
  return abandoned && !lasting ? 'take_over' : 'wait'
}
