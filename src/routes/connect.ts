/** From an account to stored credentials: whose they become, and what becomes of what was stored before. */
import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { mergeGrant } from '../credentials/changes.js'
import { credentialsOf } from '../credentials/credentials.js'
import { type Account, accountOf, type CredentialRecord, withAccount } from '../credentials/record.js'
import { AccountMismatchError, NoRefreshTokenError, OptionError } from '../errors.js'
import type { Authorized } from '../options.js'
import type { PendingFlow } from '../session/flow-cookie.js'
import { moveToStore } from '../session/move-to-store.js'
import { isEncrypted, readBinding } from '../session/session.js'
import { ReconsentNeeded } from './reconsent.js'

/** What has to be known of the flow that an account came from. */
export type Grant = Pick<
  PendingFlow,
  'intent' | 'needed' | 'user' | 'identity' | 'another' | 'binding' | 'reconsented' | 'crossSite'
>

/** Credentials that are stored, and all that another response needs to be linked to them too. */
export interface Linked {
  /** Whose credentials these are: what the session is linked to. */
  readonly user: string
  /** The link's id, minted for this sign-in. */
  readonly linkId: string
  /** With `storage: 'session'`: the sealed record. */
  readonly credentials?: string
}

export interface Connected {
  readonly completion: Linked
  readonly authorized: Pick<Authorized, 'credentials' | 'claims'>
}

/** Thrown before anything is stored, when the person has to say first that the account is theirs. */
export class ConfirmationNeeded extends Error {}

/**
 * Stores an account for its user. The one way there is, after the callback and after a confirmation alike.
 *
 * @throws {ConfirmationNeeded} {@link ReconsentNeeded} or whatever the answer is, if it is not a redirect back
 */
export async function connectAccount(
  client: Client,
  request: FastifyRequest,
  flow: Grant,
  account: Account,
): Promise<Connected> {
  const { options } = client
  const { provider } = options
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
    // Asked of what is stored at this moment. A flow for an account by name is no exception: a link that names one is as
    // good in anybody's browser as in that of the user whom it was made for.
    if (flow.crossSite && !accountOf(current, account.id)) throw new ConfirmationNeeded()
    // More for one of several accounts leaves the others alone; somebody else, unasked for, takes the place of them all.
    const joins = flow.another || flow.identity !== undefined || accountOf(current, account.id) !== undefined
    return current && joins ? withAccount(current, merged) : { ...fresh, accounts: [merged] }
  }
  const known = link?.user === user ? link : undefined
  const linkId = known?.id ?? randomBytes(16).toString('base64url')
  if (options.store) {
    // A flow that began when this was kept in the session: an answer that grants less must not be all that is left.
    if (known) await moveToStore(client, request, known, user)
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
  const sealed = await client.sessionStorage.seal(slot, record)
  // For its name only: whoever answers puts it into their own session.
  const vault = await client.sessionStorage.vault({ ...slot, read: () => sealed, write: async () => {} })
  client.manager.keeper.announce(vault, 'authorized', stored)
  return {
    completion: { user, linkId, credentials: sealed },
    authorized: { credentials: credentialsOf(record, stored), claims: account.claims },
  }
}

async function userFor(
  client: Client,
  request: FastifyRequest,
  flow: Grant,
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
  flow: Grant,
  before: string | undefined,
  user: string,
): void {
  if (client.options.userKey || before === undefined || before === user) return
  // A flow that began before this session did can say who somebody is, but cannot turn them into somebody else.
  const foreign = readBinding(request) !== flow.binding
  if (foreign || flow.intent === 'grant' || client.options.accountSwitch === 'refuse') throw new AccountMismatchError()
}
