/** From an account to stored credentials: whose they become, and what becomes of what was stored before. */
import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { mergeGrant } from '../credentials/changes.js'
import { credentialsOf } from '../credentials/credentials.js'
import { digestOf, hasEnded } from '../credentials/ended.js'
import { type Account, accountOf, type CredentialRecord, withAccount } from '../credentials/record.js'
import type { UserSignIn } from '../credentials/sign-ins.js'
import { AccountMismatchError, NoRefreshTokenError, OptionError, SignedOutError } from '../errors.js'
import type { Authorized } from '../options.js'
import { MAXIMUM_ACR_LENGTH } from '../provider/authentication.js'
import type { PendingFlow } from '../session/flow-cookie.js'
import { moveToStore } from '../session/move-to-store.js'
import { isEncrypted, type Proof, readBinding } from '../session/session.js'
import { ReconsentNeeded } from './reconsent.js'

/** What has to be known of the flow that an account came from. */
export type Grant = Pick<
  PendingFlow,
  'intent' | 'needed' | 'user' | 'identity' | 'another' | 'binding' | 'reconsented' | 'crossSite'
> & { readonly startedAt?: number }

/** Credentials that are stored, and all that another response needs to be linked to them too. */
export interface Linked extends UserSignIn {
  /** Whose credentials these are: what the session is linked to. */
  readonly user: string
  /** The link's id, minted for this sign-in. */
  readonly linkId: string
  /** How the person signed in. */
  readonly proof?: Proof
  /** Whether the link that this browser had to the same user is over. */
  readonly renewed?: boolean
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
  const known = link?.user === user ? link : undefined
  const signIn = signInOf(account, user, flow.startedAt ?? options.clock())
  const proof = proofOf(account)
  let renewed = false

  const change = (current: CredentialRecord | undefined): CredentialRecord => {
    if (hasEnded(current?.ended, signIn)) throw new SignedOutError()
    renewed = known !== undefined && hasEnded(current?.ended, known)
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
    if (current && joins) return withAccount(current, merged)
    return { ...fresh, accounts: [merged], ...(current?.ended && { ended: current.ended }) }
  }
  const newId = () => randomBytes(16).toString('base64url')
  if (options.store) {
    const { keeper } = client.manager
    const vault = client.manager.vaultOf(user)
    // A flow that began when this was kept in the session: an answer that grants less must not be all that is left.
    if (known) await moveToStore(client, request, known, user)
    // What is noted lets the provider end sign-ins of this user when the account's owner signs out there. Who does not want
    // the account must not have given its owner that.
    if (flow.crossSite) await keeper.update(vault, (current) => void change(current))
    await client.signIns.note(signIn)
    const record = (await keeper.update(vault, change)) as CredentialRecord
    const stored = accountOf(record, account.id) as Account
    keeper.announce(vault, 'authorized', stored)
    return {
      // Copies of the link that ended are still about, and whoever shows one ends what has its id.
      completion: { ...signIn, linkId: known && !renewed ? known.id : newId(), renewed, proof },
      authorized: { credentials: credentialsOf(record, stored), claims: account.claims },
    }
  }
  await client.signIns.note(signIn)
  const linkId = known?.id ?? newId()
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
    completion: { ...signIn, linkId, credentials: sealed, proof },
    authorized: { credentials: credentialsOf(record, stored), claims: account.claims },
  }
}

function signInOf({ id, identified, claims }: Account, user: string, at: number): UserSignIn & { user: string } {
  const sid = claims?.sid
  return {
    user,
    at,
    ...(identified && id !== user ? { sub: id } : {}),
    ...(typeof sid === 'string' ? { sid: digestOf(sid) } : {}),
  }
}

/** Of longer classes than a guard can ask for nothing is kept: they would only fill a cookie. */
function proofOf({ id, claims: { auth_time, acr } = {} }: Account): Proof {
  return {
    account: digestOf(id),
    ...(typeof auth_time === 'number' ? { auth_time } : {}),
    ...(typeof acr === 'string' && acr.length <= MAXIMUM_ACR_LENGTH ? { acr } : {}),
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
