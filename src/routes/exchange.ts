/** From a code to an account: whose it is, and what was granted. */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { Account } from '../credentials/record.js'
import { AccountMismatchError } from '../errors.js'
import { authorizationCodeGrant } from '../flows/authorization-code.js'
import { exchangeError } from '../flows/exchange-error.js'
import { grantedScopes, identify } from '../flows/identity.js'
import type { TokenSet } from '../flows/token-set.js'
import type { PendingFlow } from '../session/flow-cookie.js'

/** @throws whatever the answer of the callback is, if there is no such account, or it is not the one that was expected */
export async function exchangeCode(
  client: Client,
  request: FastifyRequest,
  flow: PendingFlow,
  query: string,
): Promise<Account> {
  await checkUser(client, request, flow)
  let tokens: TokenSet
  try {
    tokens = await authorizationCodeGrant(client.options.provider, flow, query)
  } catch (error) {
    throw exchangeError(error)
  }
  const account = await accountFrom(client, flow, tokens)
  if (flow.identity !== undefined && account.id !== flow.identity) throw new AccountMismatchError()
  return account
}

/** A flow that one user of the app began is of no use to another, even in the same browser. */
async function checkUser(client: Client, request: FastifyRequest, flow: PendingFlow): Promise<void> {
  if (!client.options.userKey) return
  if ((await client.userFor(request)) !== flow.user) throw new AccountMismatchError()
}

async function accountFrom(client: Client, flow: PendingFlow, tokens: TokenSet): Promise<Account> {
  const { provider, clock } = client.options
  const identity = await identify(provider, flow.scopes, tokens)
  const claims = identity.claims || tokens.details ? { ...tokens.details, ...identity.claims } : undefined
  const scopes = grantedScopes(provider, flow.scopes, tokens)
  return {
    id: identity.id ?? randomUUID(),
    identified: identity.id !== undefined,
    ...(identity.email === undefined ? {} : { email: identity.email }),
    ...(claims ? { claims } : {}),
    ...(tokens.idToken && client.options.store ? { idToken: tokens.idToken } : {}),
    tokens: {
      accessToken: tokens.accessToken,
      tokenType: tokens.tokenType,
      obtainedAt: clock(),
      ...(tokens.expiresAt === undefined ? {} : { expiresAt: tokens.expiresAt }),
      ...(tokens.refreshToken === undefined ? {} : { refreshToken: tokens.refreshToken }),
      ...(tokens.dpopKey === undefined ? {} : { dpopKey: tokens.dpopKey }),
      scopes,
    },
    requested: flow.scopes,
    declined: provider.scopes.missing(scopes, flow.scopes).filter((scope) => scope !== 'offline_access'),
  }
}
