/** From a code to an account: whose it is, and what was granted. */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import * as oidc from 'openid-client'
import type { Client } from '../client.js'
import type { Account, Claims } from '../credentials/record.js'
import { unavailable } from '../credentials/refresher.js'
import { AccountMismatchError, ClientRejectedError, ExchangeFailedError } from '../errors.js'
import { authorizationCodeGrant } from '../flows/authorization-code.js'
import type { TokenSet } from '../flows/token-set.js'
import { ProviderFailure, sanitizedCause } from '../provider/failure.js'
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
    throw answerTo(error)
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
  const identity = await identify(client, flow, tokens)
  const claims = identity.claims || tokens.details ? { ...tokens.details, ...identity.claims } : undefined
  const granted = provider.scopes.granted(flow.scopes, tokens.scopes)
  // A valid ID token is what `openid` is about, whether or not the answer lists it.
  const scopes = tokens.claims ? provider.scopes.union(granted, ['openid']) : granted
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
      scopes,
    },
    requested: flow.scopes,
    declined: provider.scopes.missing(scopes, flow.scopes).filter((scope) => scope !== 'offline_access'),
  }
}

interface Identity {
  readonly id?: string
  readonly email?: string
  readonly claims?: Claims
}

async function identify(client: Client, flow: PendingFlow, tokens: TokenSet): Promise<Identity> {
  const { provider } = client.options
  if (tokens.claims) {
    const claims = { ...(await userInfo(client, flow, tokens, tokens.claims)), ...tokens.claims }
    const { email } = claims as { email?: unknown }
    return { id: String(claims.sub), claims, ...(typeof email === 'string' ? { email } : {}) }
  }
  const { identity } = provider.options
  if (!identity) return {}
  try {
    const found = await identity({
      accessToken: tokens.accessToken,
      fetch: provider.boundedFetch,
      issuer: provider.issuer,
    })
    if (typeof found?.id !== 'string' || found.id === '') throw new TypeError('identity() gave no id')
    return found
  } catch (cause) {
    throw new ExchangeFailedError({ cause: sanitizedCause(cause) })
  }
}

/** Many providers put the e-mail address only here. OpenID Connect Core section 5.3. */
async function userInfo(client: Client, flow: PendingFlow, tokens: TokenSet, claims: Claims): Promise<Claims> {
  const { provider } = client.options
  const configuration = await provider.configuration()
  if (claims.email !== undefined || !flow.scopes.includes('email') || !configuration.serverMetadata().userinfo_endpoint)
    return {}
  let info: Claims
  try {
    info = await oidc.fetchUserInfo(configuration, tokens.accessToken, oidc.skipSubjectCheck)
  } catch {
    // Who it is, is known; an address for display is not worth a failed sign-in.
    return {}
  }
  if (info.sub !== claims.sub) throw new ExchangeFailedError()
  return info
}

function answerTo(error: unknown): unknown {
  if (!(error instanceof ProviderFailure)) return error
  if (error.temporary) return unavailable(error.retryAfter ?? 5, error)
  return error.kind === 'client' ? new ClientRejectedError({ cause: error }) : new ExchangeFailedError({ cause: error })
}
