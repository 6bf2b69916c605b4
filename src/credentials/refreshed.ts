/** What becomes of an account when its refresh token was used: pure functions for `refresher.ts`. */
import { createHash } from 'node:crypto'
import type { TokenSet } from '../flows/token-set.js'
import type { Provider } from '../provider/provider.js'
import type { Account, ReauthorizationReason } from './record.js'

/** The account with the tokens of an answer to its refresh token. */
export function merge(provider: Provider, { attempt: _, dead: __, ...account }: Account, tokens: TokenSet): Account {
  const before = account.tokens
  const scopes = tokens.scopes === undefined ? before.scopes : provider.scopes.granted(before.scopes, tokens.scopes)
  return {
    ...account,
    ...(tokens.claims ? { claims: { ...account.claims, ...tokens.claims } } : {}),
    ...(tokens.idToken ? { idToken: tokens.idToken } : {}),
    tokens: {
      accessToken: tokens.accessToken,
      tokenType: tokens.tokenType,
      obtainedAt: provider.clock(),
      ...(tokens.expiresAt === undefined ? {} : { expiresAt: tokens.expiresAt }),
      refreshToken: tokens.refreshToken ?? (before.refreshToken as string),
      // Signing in proved `openid` once; answers to a refresh often leave it out.
      scopes: before.scopes.includes('openid') ? provider.scopes.union(scopes, ['openid']) : scopes,
    },
  }
}

/** The account when only a person can help any more. */
export function dead({ attempt: _, ...account }: Account, reason: ReauthorizationReason): Account {
  return { ...account, dead: reason }
}

/** The account after its attempt, with another refresh token where there is one. */
export function withRefreshToken({ attempt: _, ...account }: Account, refreshToken: string | undefined): Account {
  return refreshToken === undefined ? account : { ...account, tokens: { ...account.tokens, refreshToken } }
}

/** How a journal names a refresh token without holding it. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}
