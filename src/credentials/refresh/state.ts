/**
 * Every decision of a refresh, as pure functions over what is stored and what was answered. `refresher.ts` carries them
 * out, `account.ts` says what the account looks like afterwards, and a test runs them through every interleaving of
 * several processes.
 *
 * The record is its own journal. A process writes `attempt` with compare-and-set before it sends the refresh token, so at
 * most one process sends it while that one lives. What happens when it dies is decided here too.
 */
import { createHash } from 'node:crypto'
import { isWellFormedToken, type TokenSet } from '../../flows/token-set.js'
import type { FailureKind } from '../../provider/failure.js'
import { toNumber } from '../../provider/json.js'
import type { RotationProfile } from '../../provider/preset.js'
import type { Account, Claims, ReauthorizationReason, RefreshAttempt } from '../record.js'

/** Milliseconds after which an attempt without result is taken for abandoned. */
export const ABANDONED_AFTER = 30_000
/** Milliseconds between two looks at an abandoned attempt: a record that was only just written is not one. */
export const SECOND_LOOK_AFTER = 2_000
/** Milliseconds for which a claim is good: whoever was suspended for longer cannot know that it still holds. */
export const CLAIM_LIFETIME = 2_000

/** Milliseconds that a request may be under way: what a grace period leaves less of is not counted on. */
const UNDER_WAY = 10_000
/** Milliseconds by which the clocks of two processes may differ. */
const CLOCKS_DIFFER = 60_000

/** What there is to know besides the account itself. */
export interface RefreshContext {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** An access token that will not do: an API refused it, or it is about to expire. */
  readonly rejected?: string | undefined
  readonly rotation: RotationProfile['rotation']
  /** Milliseconds for which the provider still takes a refresh token that was used. */
  readonly grace: number
  /** Milliseconds that whoever sent a refresh token waits for the answer. */
  readonly timeout: number
  /** Whether the attempt is this process's own, which ended without an answer. */
  readonly ended: boolean
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
  const { attempt } = account
  const graced = isGraced(account, context)
  const abandonedAfter = Math.max(ABANDONED_AFTER, context.timeout + CLAIM_LIFETIME)
  const abandoned = context.age >= abandonedAfter && context.watched >= SECOND_LOOK_AFTER
  // Of its own attempt a process knows that nobody is at it any more.
  if (attempt && !abandoned && !(context.ended && graced)) return 'wait'
  // A provider that punishes reuse is only asked again when there is nothing left to lose: not while the access token,
  // even one that should be renewed soon, has not reached its end. While it forgives, it is waiting that loses.
  const risky = doubtedSince(account) !== undefined && context.rotation === 'strict' && !graced
  // Of a token of unknown lifetime an API's refusal is all that will ever be known.
  const over = account.tokens.expiresAt === undefined ? context.rejected : undefined
  if (risky && isLive(account, context.now, over)) return 'wait'
  return attempt ? 'take_over' : 'claim'
}

/** Since when it is not known what became of the refresh token, if it is not. */
function doubtedSince({ attempt, doubtedSince }: Account): number | undefined {
  return doubtedSince ?? (attempt && (attempt.at ?? 0))
}

/** Whether the provider is sure to take the refresh token once more, though it may have been used up. */
function isGraced(account: Account, { now, grace, ended }: RefreshContext): boolean {
  const since = doubtedSince(account)
  if (since === undefined) return false
  const left = since + grace - now - UNDER_WAY
  return ended ? left > 0 && now >= since : left > CLOCKS_DIFFER
}

/**
 * What a claim writes: the account with an attempt at its refresh token, in the place of an abandoned one.
 *
 * @param now milliseconds since the epoch
 */
export function claim(account: Account, id: string, now: number): Claim {
  const attempt = { id, hash: hashToken(account.tokens.refreshToken as string), at: now }
  const since = doubtedSince(account)
  return { ...account, attempt, ...(since === undefined ? {} : { doubtedSince: since }) }
}

/** An account with the attempt of whoever holds it. */
export type Claim = Account & { readonly attempt: RefreshAttempt }

/** Whether a claim may still be used, by a clock that never goes back. Counted from before it was written. */
export function claimStands(startedAt: number, now: number): boolean {
  return now - startedAt <= CLAIM_LIFETIME
}

/**
 * Milliseconds until the next look at somebody else's attempt: short at first, and never much longer than a part of what was
 * waited already, so that nobody waits for much longer than it takes.
 *
 * @param random below 1: processes that began together do not look together
 */
export function nextLookAfter(waited: number, random: number): number {
  return Math.min(Math.max(waited / 4, 20), 250) * (1 - random / 3)
}

/** What came back for a refresh token. */
export type RefreshAnswer =
  | { readonly tokens: TokenSet }
  /** `rotated`: the refresh token in the answer, whatever else was wrong with it. */
  | { readonly failure: FailureKind; readonly rotated?: unknown }

/**
 * - `tokens`: new ones
 * - `rotated`: nothing but the new refresh token can be trusted
 * - `dead`: the grant is over
 * - `released`: nothing happened, anybody may try again
 * - `in_doubt`: the refresh token may have been used up
 */
export type RefreshOutcome = Settled | { readonly kind: 'in_doubt' }

/** An outcome that ends the attempt. */
export type Settled =
  | { readonly kind: 'tokens'; readonly tokens: TokenSet }
  | { readonly kind: 'rotated'; readonly refreshToken: string }
  | { readonly kind: 'dead'; readonly reason: ReauthorizationReason }
  | { readonly kind: 'released' }

/** What an answer means for the account that was claimed. Where there was doubt, a refusal says how it ends. */
export function outcomeOf(
  answer: RefreshAnswer,
  account: Account,
  rotation: RotationProfile['rotation'],
): RefreshOutcome {
  if ('tokens' in answer) {
    const { tokens } = answer
    return tokens.claims && !isSameSignIn(tokens.claims, account)
      ? { kind: 'dead', reason: 'identity_changed' }
      : { kind: 'tokens', tokens }
  }
  const { failure, rotated } = answer
  if (failure === 'unusable' && isWellFormedToken(rotated) && rotated !== account.tokens.refreshToken) {
    // Whatever is wrong with the rest of the answer, the old refresh token is gone and this is the new one.
    return { kind: 'rotated', refreshToken: rotated }
  }
  if (failure === 'invalid_grant') {
    return {
      kind: 'dead',
      reason: account.doubtedSince !== undefined && rotation !== 'none' ? 'lost_rotation' : 'refused',
    }
  }
  const unknown = failure === 'in_doubt' || failure === 'unusable'
  return { kind: unknown && rotation !== 'none' ? 'in_doubt' : 'released' }
}

/**
 * OpenID Connect Core section 12.2: a refresh is about the sign-in that it goes back to, and about none before it. That is the one
 * which brought the refresh token, and not always the last.
 */
function isSameSignIn(claims: Claims, { claims: stored, tokens }: Account): boolean {
  const before = tokens.refreshSignIn ?? signInClaims(stored)
  const sameNonce = claims.nonce === undefined || before.nonce === undefined || claims.nonce === before.nonce
  return claims.sub === stored?.sub && sameNonce && !isEarlier(claims, before)
}

/** What tells one sign-in of a person from another. */
export function signInClaims({ nonce, auth_time }: Claims = {}): Claims {
  return { ...(nonce === undefined ? {} : { nonce }), ...(auth_time === undefined ? {} : { auth_time }) }
}

/**
 * A newer `auth_time` is that of somebody who proved again who they are, for another app of the provider, and one that is the time
 * of issue says nothing: some servers write that down twice.
 */
function isEarlier({ auth_time: authenticatedAt, iat }: Claims, { auth_time: before }: Claims): boolean {
  return toNumber(authenticatedAt) < toNumber(before) && authenticatedAt !== iat
}

/** The token that an outcome brought and that exists nowhere else. */
export function receivedToken(outcome: Settled): string | undefined {
  if (outcome.kind === 'tokens') return outcome.tokens.refreshToken ?? outcome.tokens.accessToken
  return outcome.kind === 'rotated' ? outcome.refreshToken : undefined
}

/** Which kind of token {@link receivedToken} is. */
export function receivedKind(outcome: Settled): 'refresh_token' | 'access_token' {
  return outcome.kind === 'tokens' && outcome.tokens.refreshToken === undefined ? 'access_token' : 'refresh_token'
}

/**
 * What to do when the outcome could not be written because somebody else wrote first.
 *
 * - `revoke`: the grant was revoked, and that wins: what was received must not stay alive unseen
 * - `write`: over what was found; something else changed
 * - `drop`: another authorization replaced the grant, or another process took over; what they write is newer
 */
export function afterLostWrite(
  found: Account | undefined,
  { attempt }: Claim,
  outcome: Settled,
): 'revoke' | 'write' | 'drop' {
  if (!found) return 'revoke'
  const { refreshToken } = found.tokens
  const same = refreshToken !== undefined && hashToken(refreshToken) === attempt.hash
  return same && (receivedToken(outcome) !== undefined || found.attempt?.id === attempt.id) ? 'write' : 'drop'
}

/**
 * How an account is doing, for people to see. `refreshing` and `in_doubt` do not say that the access token is over.
 *
 * @param age milliseconds since the record was written, by the store's clock
 * @param now milliseconds since the epoch: when given, an access token that is over and cannot be refreshed counts too
 */
export function statusOf(account: Account, age = 0, now?: number): AccountStatus {
  if (account.dead) return 'needs_reauthorization'
  if (account.tokens.refreshToken === undefined && now !== undefined && !isLive(account, now)) {
    return 'needs_reauthorization'
  }
  if (account.attempt && age < ABANDONED_AFTER) return 'refreshing'
  return doubtedSince(account) === undefined ? 'active' : 'in_doubt'
}

/** How it is going with an account: the `status` of a {@link ConnectedAccount}, where each is explained. */
export type AccountStatus = 'active' | 'refreshing' | 'in_doubt' | 'needs_reauthorization'

/** How a journal names a refresh token without holding it. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}
