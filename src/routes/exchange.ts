/** From a code to stored credentials: whose they are, what was granted, and what becomes of what was stored before. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import * as oidc from 'openid-client'
import type { Client } from '../client.js'
import { mergeGrant } from '../credentials/changes.js'
import { credentialsOf } from '../credentials/credentials.js'
import { type Account, accountOf, type Claims, type CredentialRecord, withAccount } from '../credentials/record.js'
import { unavailable } from '../credentials/refresher.js'
import {
  AccountMismatchError,
  ClientRejectedError,
  ExchangeFailedError,
  NoRefreshTokenError,
  OptionError,
} from '../errors.js'
import { authorizationCodeGrant } from '../flows/authorization-code.js'
import type { TokenSet } from '../flows/token-set.js'
import type { Authorized } from '../options.js'
import { ProviderFailure, sanitizedCause } from '../provider/failure.js'
import type { Completion } from '../session/completions.js'
import type { PendingFlow } from '../session/flow-cookie.js'
import { isEncrypted, readBinding } from '../session/session.js'
import { ReconsentNeeded } from './reconsent.js'

export interface Exchanged {
  readonly completion: Completion
  readonly authorized: Pick<Authorized, 'credentials' | 'claims'>
}

/** @throws whatever the answer of the callback is, if it is not a redirect back */
export async function exchangeCode(
  client: Client,
  request: FastifyRequest,
  flow: PendingFlow,
  query: string,
): Promise<Exchanged> {
  const { options } = client
  const { provider } = options
  await checkUser(client, request, flow)
  let tokens: TokenSet
  try {
    tokens = await authorizationCodeGrant(provider, flow, query)
  } catch (error) {
    throw answerTo(error)
  }
  const account = await accountFrom(client, flow, tokens)
  if (flow.identity !== undefined && account.id !== flow.identity) throw new AccountMismatchError()
  const link = client.linkOf(request)
  const fresh: CredentialRecord = { v: 1, issuer: provider.issuer, clientId: provider.clientId, accounts: [account] }
  const credentials = credentialsOf(fresh, account)
  const user = await userFor(client, request, flow, account, credentials)
  checkSwitch(client, request, flow, link?.user, user)

  const change = (current: CredentialRecord | undefined): CredentialRecord => {
    const merged = mergeGrant(
      accountOf(current, account.id),
      { account, needed: flow.needed, intent: flow.intent },
      provider.scopes,
      options.clock(),
    )
    if (options.offline === 'required' && merged.tokens.refreshToken === undefined) {
      throw flow.reconsented ? new NoRefreshTokenError() : new ReconsentNeeded()
    }
    // More for one of several accounts leaves the others alone; somebody else, unasked for, takes the place of them all.
    const joins = flow.another || flow.identity !== undefined || accountOf(current, account.id) !== undefined
    return current && joins ? withAccount(current, merged) : { ...fresh, accounts: [merged] }
  }
  const known = link?.user === user ? link : undefined
  const linkId = known?.id ?? randomBytes(16).toString('base64url')
  if (options.store) {
    const vault = client.manager.vaultOf(user)
    const record = (await client.manager.keeper.update(vault, change)) as CredentialRecord
    const stored = accountOf(record, account.id) as Account
    client.manager.keeper.announce(vault, 'authorized', stored)
    return {
      completion: { user, linkId },
      authorized: { credentials: credentialsOf(record, stored), claims: account.claims },
    }
  }
  const slot = { id: linkId, encrypted: isEncrypted(request) }
  const text = known?.credentials
  // A session that can no longer be read is of use to nobody; signing in again is the one way on.
  const current = text === undefined ? undefined : await client.sessionStorage.open(slot, text).catch(() => undefined)
  const record = change(current)
  const stored = accountOf(record, account.id) as Account
  return {
    completion: { user, linkId, credentials: await client.sessionStorage.seal(slot, record) },
    authorized: { credentials: credentialsOf(record, stored), claims: account.claims },
  }
}

/** A flow that one user of the app began is of no use to another, even in the same browser. */
async function checkUser(client: Client, request: FastifyRequest, flow: PendingFlow): Promise<void> {
  if (!client.options.userKey) return
  if ((await client.userFor(request)) !== flow.user) throw new AccountMismatchError()
}

async function userFor(
  client: Client,
  request: FastifyRequest,
  flow: PendingFlow,
  account: Account,
  credentials: Authorized['credentials'],
): Promise<string> {
  if (flow.user !== undefined) return flow.user
  const { resolveUser } = client.options
  if (resolveUser) {
    const user: unknown = await resolveUser(request, { claims: account.claims, credentials })
    if (typeof user !== 'string' || user === '')
      throw new OptionError('resolveUser', 'must return the key of a user, or throw.')
    return user
  }
  // Without any identity, a browser is all there is to go by.
  return account.identified ? account.id : (client.linkOf(request)?.user ?? account.id)
}

function checkSwitch(
  client: Client,
  request: FastifyRequest,
  flow: PendingFlow,
  before: string | undefined,
  user: string,
): void {
  if (client.options.userKey || before === undefined || before === user) return
  // A flow that began before this session did can say who somebody is, but cannot turn them into somebody else.
  const foreign = readBinding(request) !== flow.binding
  if (foreign || flow.intent === 'grant' || client.options.accountSwitch === 'refuse') throw new AccountMismatchError()
}

async function accountFrom(client: Client, flow: PendingFlow, tokens: TokenSet): Promise<Account> {
  const { provider, clock } = client.options
  const identity = await identify(client, flow, tokens)
  const granted = provider.scopes.granted(flow.scopes, tokens.scopes)
  // A valid ID token is what `openid` is about, whether or not the answer lists it.
  const scopes = tokens.claims ? provider.scopes.union(granted, ['openid']) : granted
  return {
    id: identity.id ?? randomUUID(),
    identified: identity.id !== undefined,
    ...(identity.email === undefined ? {} : { email: identity.email }),
    ...(identity.claims ? { claims: identity.claims } : {}),
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
