/** What becomes of an account when its refresh token was used: pure functions for `refresher.ts`. */
import type { TokenSet } from '../../flows/token-set.js'
import type { ScopeSet } from '../../provider/scopes.js'
import type { Account, Claims } from '../record.js'
import type { Claim, Settled } from './state.js'

/**
 * The account after a refresh.
 *
 * @param current what is stored by now; other fields of it may have changed since the claim
 * @param claimed what was stored when the refresh token was sent
 * @param now milliseconds since the epoch
 */
export function settle(current: Account, claimed: Claim, outcome: Settled, scopes: ScopeSet, now: number): Account {
  const { attempt: _, ...free } = current
  const { doubtedSince: __, dead: ___, ...cleared } = free
  // An authorization that brought no refresh token of its own left this one in place: its other tokens are newer.
  const superseded = current.tokens.accessToken !== claimed.tokens.accessToken
  switch (outcome.kind) {
    case 'tokens':
      if (superseded) return withRefreshToken(cleared, outcome.tokens.refreshToken)
      return merge(cleared, outcome.tokens, scopes, now)
    case 'rotated':
      return withRefreshToken(cleared, outcome.refreshToken)
    case 'dead':
      return superseded ? free : { ...cleared, dead: outcome.reason }
    case 'released':
      return free
  }
}

/** The account with the tokens of an answer to its refresh token. */
function merge(account: Account, tokens: TokenSet, known: ScopeSet, now: number): Account {
  const before = account.tokens
  const scopes = tokens.scopes === undefined ? before.scopes : known.granted(before.scopes, tokens.scopes)
  return {
    ...account,
    ...(tokens.claims || tokens.details ? { claims: mergeClaims(account, tokens) } : {}),
    ...(tokens.idToken ? { idToken: tokens.idToken } : {}),
    tokens: {
      accessToken: tokens.accessToken,
      tokenType: tokens.tokenType,
      obtainedAt: now,
      ...(tokens.expiresAt === undefined ? {} : { expiresAt: tokens.expiresAt }),
      refreshToken: tokens.refreshToken ?? (before.refreshToken as string),
      // Signing in proved `openid` once; answers to a refresh often leave it out.
      scopes: before.scopes.includes('openid') ? known.union(scopes, ['openid']) : scopes,
      ...(tokens.dpopKey ? { dpopKey: tokens.dpopKey } : {}),
      ...(before.refreshSignIn ? { refreshSignIn: before.refreshSignIn } : {}),
    },
  }
}

const OF_A_SIGN_IN = ['acr', 'amr', 'nonce', 'sid']

/**
 * When and how somebody signed in, only a sign-in can say: a refresh, which nobody has to be there for, would make it just now, or
 * go back to the sign-in before the last, where that brought the refresh token.
 */
function mergeClaims(
  { claims: before = {}, tokens: { refreshSignIn } }: Account,
  { claims, details }: TokenSet,
): Claims {
  const { auth_time: _, ...said } = { ...details, ...claims }
  const ofLast = refreshSignIn ? Object.entries(before).filter(([name]) => OF_A_SIGN_IN.includes(name)) : []
  return { ...before, ...said, ...Object.fromEntries(ofLast) }
}

/** The account with another refresh token, where there is one. */
function withRefreshToken(account: Account, refreshToken: string | undefined): Account {
  return refreshToken === undefined ? account : { ...account, tokens: { ...account.tokens, refreshToken } }
}
