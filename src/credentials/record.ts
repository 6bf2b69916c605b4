/**
 * What is stored for a user: a versioned JSON value, checked on the way in. Written and read by `credentials/manager` only;
 * stores see it sealed. Other writers preserve what they do not know of an account.
 */
import { CredentialsUnreadableError } from '../errors.js'
import { type DPoPKey, isDPoPKey } from '../provider/dpop.js'
import { type Ended, isEnded } from './ended.js'

/**
 * Claims of an ID token, or what a provider said about the person. Names are those of OpenID Connect Core section 5.1,
 * or the provider's own; the types are its word too.
 *
 * @example
 * ```ts
 * import type { Claims } from 'fastify-oauth2client'
 *
 * function isAdmin(claims: Claims | null): boolean {
 *   return Array.isArray(claims?.groups) && claims.groups.includes('admins')
 * }
 * ```
 */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Why credentials that are kept can no longer be used: the `reason` of a {@link ConnectedAccount}.
 *
 * - `refused`: the provider does not take the refresh token any more
 * - `lost_rotation`: an answer with a new refresh token got lost, and the provider takes the old one for stolen
 * - `identity_changed`: a refresh brought the ID token of somebody else
 */
export type ReauthorizationReason = 'refused' | 'lost_rotation' | 'identity_changed'

/** One set of tokens, and the scopes that came with it. */
export interface Tokens {
  readonly accessToken: string
  readonly tokenType: string
  /** Milliseconds since the epoch; absent when the provider did not say. */
  readonly expiresAt?: number
  /** Milliseconds since the epoch. */
  readonly obtainedAt: number
  readonly refreshToken?: string
  /** What was granted, which is not always what was asked for. */
  readonly scopes: readonly string[]
  /** What the access token is of no use without, and the refresh token too unless it has a key of its own. RFC 9449. */
  readonly dpopKey?: DPoPKey
  /** The key of a refresh token that came with an earlier authorization than the access token. */
  readonly refreshDpopKey?: DPoPKey
  /** What identifies the sign-in that the refresh token goes back to, where the claims tell of a later one. */
  readonly refreshSignIn?: Claims
}

/** The journal of a refresh: who sends which refresh token. Only the writer of an attempt may send it. */
export interface RefreshAttempt {
  readonly id: string
  /** SHA-256 of the refresh token, base64url. */
  readonly hash: string
  /** When it was written, in milliseconds since the epoch by the writer's clock. */
  readonly at?: number
}

/** One account at the provider, connected to one user of the app. */
export interface Account {
  /** The identity at the provider: `sub` of the ID token, or the preset's id. */
  readonly id: string
  /** False where the provider tells no identity: `id` is then our own invention. */
  readonly identified: boolean
  readonly email?: string
  readonly claims?: Claims
  readonly idToken?: string
  readonly tokens: Tokens
  readonly requested: readonly string[]
  readonly declined: readonly string[]
  readonly attempt?: RefreshAttempt
  /**
   * When the refresh token was first sent of which nobody knows what came of it, in milliseconds since the epoch; 0 when
   * nobody knows that either. Outlives attempts, until an answer brings certainty.
   */
  readonly doubtedSince?: number
  /** Present when only a new authorization can help. */
  readonly dead?: ReauthorizationReason
}

/** Everything stored under one key: one user of one client. */
export interface CredentialRecord {
  readonly v: 1
  readonly issuer: string
  readonly clientId: string
  /** The first one is the one that guards use unless told otherwise. */
  readonly accounts: readonly Account[]
  /** Sign-ins that are over. Outlives the accounts, or a link that ended would be good again after the next sign-in. */
  readonly ended?: Ended
}

/** The account that was asked for, or the first. */
export function accountOf(record: CredentialRecord | undefined, id?: string): Account | undefined {
  return id === undefined ? record?.accounts[0] : record?.accounts.find((account) => account.id === id)
}

/** What is left when some accounts are gone: nothing, unless there is something to remember about sign-ins. */
export function withAccounts(record: CredentialRecord, accounts: readonly Account[]): CredentialRecord | undefined {
  return accounts.length > 0 || record.ended ? { ...record, accounts } : undefined
}

/** The record with one account put in the place of its former self, or added. */
export function withAccount(record: CredentialRecord, account: Account): CredentialRecord {
  const known = record.accounts.some(({ id }) => id === account.id)
  return {
    ...record,
    accounts: known ? record.accounts.map((a) => (a.id === account.id ? account : a)) : [...record.accounts, account],
  }
}

/**
 * Stands for a refresh token in records that are only looked at: there is one, and it stays where it is kept. No provider
 * can have issued it, because it is empty.
 */
export const WITHHELD = ''

/** The record as requests get to see it, and as it may be remembered: refresh tokens are read where they are sent. */
export function withhold(record: CredentialRecord): CredentialRecord {
  return deepFreeze({
    ...record,
    accounts: record.accounts.map((account) =>
      account.tokens.refreshToken === undefined
        ? account
        : { ...account, tokens: { ...account.tokens, refreshToken: WITHHELD } },
    ),
  })
}

export function serializeRecord(record: CredentialRecord): string {
  // Writing such a record down would lose what it stands for.
  if (record.accounts.some(({ tokens }) => tokens.refreshToken === WITHHELD)) throw new TypeError('a record to look at')
  return JSON.stringify(record)
}

/** @throws {CredentialsUnreadableError} for anything but a complete record of a known version */
export function parseRecord(text: string): CredentialRecord {
  return deepFreeze(checkedRecord(text))
}

/** The same for whoever freezes it: {@link withhold} does. @throws {CredentialsUnreadableError} */
export function checkedRecord(text: string): CredentialRecord {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new CredentialsUnreadableError('damaged')
  }
  const record = value as Partial<CredentialRecord> | null
  if (typeof record?.v === 'number' && record.v > 1) throw new CredentialsUnreadableError('newer_version')
  if (
    record?.v !== 1 ||
    typeof record.issuer !== 'string' ||
    typeof record.clientId !== 'string' ||
    !Array.isArray(record.accounts) ||
    !record.accounts.every(isAccount) ||
    !isEnded(record.ended)
  ) {
    throw new CredentialsUnreadableError('damaged')
  }
  return record as CredentialRecord
}

/** A record is remembered between requests; what a handler gets of it must not be its to change. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  // Most members are text, and a call for each would take longer than what is done here.
  for (const name in value) if (typeof value[name] === 'object') deepFreeze(value[name])
  return value
}

function isAccount(value: unknown): value is Account {
  const account = value as Partial<Account> | null
  const tokens = account?.tokens
  return (
    typeof account?.id === 'string' &&
    isStrings(account.requested) &&
    isStrings(account.declined) &&
    (account.attempt === undefined || isAttempt(account.attempt)) &&
    (account.doubtedSince === undefined || Number.isFinite(account.doubtedSince)) &&
    typeof tokens?.accessToken === 'string' &&
    isStrings(tokens.scopes) &&
    Number.isFinite(tokens.obtainedAt) &&
    (tokens.expiresAt === undefined || Number.isFinite(tokens.expiresAt)) &&
    (tokens.refreshToken === undefined || typeof tokens.refreshToken === 'string') &&
    (tokens.dpopKey === undefined || isDPoPKey(tokens.dpopKey)) &&
    (tokens.refreshDpopKey === undefined || isDPoPKey(tokens.refreshDpopKey)) &&
    (tokens.refreshSignIn === undefined || (typeof tokens.refreshSignIn === 'object' && tokens.refreshSignIn !== null))
  )
}

function isAttempt(value: unknown): value is RefreshAttempt {
  const { id, hash, at } = (value ?? {}) as Partial<RefreshAttempt>
  return typeof id === 'string' && typeof hash === 'string' && (at === undefined || Number.isFinite(at))
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
