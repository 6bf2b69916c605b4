/** Changes to what is stored that are not refreshes: an authorization, an adoption, a removal. */
import { randomUUID } from 'node:crypto'
import { ClientMismatchError } from '../errors.js'
import { type RevocationOutcome, revokeToken } from '../flows/revocation.js'
import type { ScopeSet } from '../provider/scopes.js'
import type { Credentials } from './credentials.js'
import type { Keeper } from './keeper.js'
import type { CredentialManager } from './manager.js'
import { type Account, accountOf, type CredentialRecord, type Tokens, withAccount, withAccounts } from './record.js'
import { isLive, signInClaims } from './refresh/state.js'
import { StoredSignIns } from './sign-ins.js'
import type { Vault } from './vault.js'

/** What an authorization brought, before it meets what is stored. */
export interface Grant {
  readonly account: Account
  /** A grant was made for the sake of these; a sign-in needs nothing in particular. */
  readonly needed: readonly string[]
  readonly intent: 'sign-in' | 'grant'
}

/**
 * What an account becomes when an authorization meets what is stored for the same identity. Scopes stay with the tokens
 * that they came with, and what was granted is never lost to an answer that grants less.
 */
export function mergeGrant(
  stored: Account | undefined,
  { account, needed, intent }: Grant,
  scopes: ScopeSet,
  now: number,
): Account {
  if (!stored || !account.identified) return account
  // What was declined stays so when the person is asked for something else.
  const declinedOf = ({ tokens }: Account) =>
    scopes.missing(tokens.scopes, scopes.union(stored.declined, account.declined))
  const lesser = !scopes.covers(account.tokens.scopes, stored.tokens.scopes)
  const active =
    !stored.dead && (stored.tokens.refreshToken ? true : isLive(stored, now) && !account.tokens.refreshToken)
  // A sign-in proved who it is, and no more. A grant that brought what it was made for is what the person wants now.
  if (lesser && active && (intent === 'sign-in' || !scopes.covers(account.tokens.scopes, needed))) {
    const { email, claims, idToken } = account
    const tokens = claims ? { ...stored.tokens, ...signInBefore(stored) } : stored.tokens
    return { ...stored, tokens, declined: declinedOf(stored), ...definedOnly({ email, claims, idToken }) }
  }
  if (stored.dead) return account
  const merged = { ...account, declined: declinedOf(account) }
  if (account.tokens.refreshToken || !stored.tokens.refreshToken) return merged
  // The same person without a new refresh token: the old one still stands for the whole grant, and so does its journal.
  return {
    ...merged,
    tokens: {
      ...account.tokens,
      refreshToken: stored.tokens.refreshToken,
      ...definedOnly({ refreshDpopKey: stored.tokens.refreshDpopKey ?? stored.tokens.dpopKey }),
      ...signInBefore(stored),
    },
    ...definedOnly({ attempt: stored.attempt, doubtedSince: stored.doubtedSince }),
  }
}

/** The sign-in that a refresh token keeps going back to when newer claims take the place of its own. */
function signInBefore({ claims, tokens: { refreshToken, refreshSignIn } }: Account): Pick<Tokens, 'refreshSignIn'> {
  return refreshToken === undefined ? {} : { refreshSignIn: refreshSignIn ?? signInClaims(claims) }
}

/** Stores credentials from elsewhere; they replace those of the same identity, or the only ones without. */
export async function adoptCredentials(
  keeper: Keeper,
  vault: Vault,
  credentials: Credentials,
): Promise<CredentialRecord> {
  const { issuer, clientId, clock, scopes } = keeper.provider
  const { issuer: from = issuer, clientId: ours = clientId } = credentials
  if (!(from === issuer || keeper.provider.isIssuer(from)) || ours !== clientId) {
    throw new ClientMismatchError()
  }
  const id = credentials.userId ?? (typeof credentials.claims?.sub === 'string' ? credentials.claims.sub : undefined)
  const account: Account = {
    id: id ?? randomUUID(),
    identified: id !== undefined,
    ...definedOnly({ email: credentials.email, claims: credentials.claims, idToken: credentials.idToken }),
    tokens: {
      accessToken: credentials.accessToken,
      tokenType: credentials.tokenType,
      obtainedAt: clock(),
      ...definedOnly({
        expiresAt: credentials.expiresAt,
        refreshToken: credentials.refreshToken,
        dpopKey: credentials.dpopKey,
      }),
      scopes: credentials.scopes,
    },
    requested: credentials.scopes,
    declined: [],
  }
  const record = (await keeper.update(vault, (current) => {
    const base = current ?? { v: 1, issuer, clientId, accounts: [] }
    if (id === undefined) return { ...base, accounts: [account] }
    return withAccount(
      base,
      mergeGrant(accountOf(base, id), { account, needed: credentials.scopes, intent: 'grant' }, scopes, clock()),
    )
  })) as CredentialRecord
  keeper.announce(vault, 'authorized', account)
  return record
}

/**
 * Writes down which scopes an access token turned out to have. Nothing changes where another token is stored by now: what is
 * granted with that came with it.
 */
export async function writeScopes(
  keeper: Keeper,
  vault: Vault,
  { id, tokens: { accessToken } }: Account,
  reported: readonly string[],
): Promise<CredentialRecord | undefined> {
  const known = keeper.provider.scopes
  return keeper.update(vault, (current) => {
    const account = accountOf(current, id)
    if (!current || account?.tokens.accessToken !== accessToken) return undefined
    const before = account.tokens.scopes
    const granted = known.granted(before, reported)
    // Signing in proved `openid` once; what is said about access tokens often leaves it out.
    const scopes = before.includes('openid') ? known.union(granted, ['openid']) : granted
    if (known.missing(before, scopes).length + known.missing(scopes, before).length === 0) return undefined
    return withAccount(current, { ...account, tokens: { ...account.tokens, scopes } })
  })
}

/** Removes one account, and with the last one the record; then tells the provider. The removal counts either way. */
export async function removeAccount(
  manager: CredentialManager,
  vault: Vault,
  accountId: string | undefined,
): Promise<{ local: boolean; remote: RevocationOutcome; remaining?: CredentialRecord }> {
  const { keeper, moves, registration } = manager
  let removed: Account | undefined
  const remaining = await keeper.remove(vault, async (record) => {
    removed = accountOf(record, accountId)
    if (removed && registration.store) await moves.forbid(manager.userOf(vault), removed.id)
    return withAccounts(
      record,
      record.accounts.filter((account) => account !== removed),
    )
  })
  if (!removed) return { local: false, remote: 'unsupported' }
  // Where nothing else is stored, links are still those of whoever signs out there, and grants may come again.
  if (registration.store && removed.identified && remaining && remaining.accounts.length > 0) {
    // It is removed either way: all that is left, at worst, is that a logout at the provider ends more than it should.
    await new StoredSignIns(manager).forget(manager.userOf(vault), removed.id).catch(() => {})
  }
  const { token, hint } = grantToken(removed)
  const remote = await revokeToken(keeper.provider, token, hint)
  keeper.announce(vault, 'revoked', removed, remote)
  return { local: true, remote, ...(remaining ? { remaining } : {}) }
}

/** The token that stands for a whole grant: revoking it ends everything that came with it. RFC 7009 section 2.1. */
export function grantToken({ tokens: { refreshToken, accessToken } }: Account): {
  token: string
  hint: 'refresh_token' | 'access_token'
} {
  return refreshToken === undefined
    ? { token: accessToken, hint: 'access_token' }
    : { token: refreshToken, hint: 'refresh_token' }
}

function definedOnly<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
