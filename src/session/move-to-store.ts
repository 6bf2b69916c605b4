/** An app that changed from `storage: 'session'` to a store: what its people's sessions hold moves there with their next request. */
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { type Account, accountOf, type CredentialRecord, withAccounts } from '../credentials/record.js'
import { isEncrypted, persistSession, type SessionLink, writeLink } from './session.js'

/** @throws {StoreUnavailableError}; the session then keeps what it has */
export async function moveToStore(
  client: Client,
  request: FastifyRequest,
  { credentials, ...link }: SessionLink,
  user: string,
): Promise<void> {
  if (credentials === undefined) return
  const slot = { id: link.id, encrypted: isEncrypted(request) }
  const record = await client.sessionStorage.open(slot, credentials).catch(() => undefined)
  const { issuer, clientId } = client.manager.registration.provider
  // An encrypted session is opened without a look at whose it is.
  if (record?.issuer === issuer && record.clientId === clientId) await moveRecord(client, record, user)
  else request.log.info({ client: client.name }, 'credentials in a session cannot be read any more, and were dropped')
  writeLink(request, client.id, link)
  await persistSession(request)
}

async function moveRecord({ manager }: Client, record: CredentialRecord, user: string): Promise<void> {
  const vault = manager.vaultOf(user)
  const moving: { account: Account; done: () => Promise<boolean> }[] = []
  for (const account of record.accounts) {
    const move = await manager.moves.claim(user, account.id)
    if (move) moving.push({ account, done: move.done })
  }
  if (moving.length === 0) return
  await manager.keeper.update(vault, (current = { ...record, accounts: [] }) => {
    // What the store already has of somebody is newer than what a session still carries.
    const added = moving.map(({ account }) => account).filter(({ id }) => !accountOf(current, id))
    return added.length > 0 ? { ...current, accounts: [...current.accounts, ...added] } : undefined
  })
  const gone: Account[] = []
  for (const { account, done } of moving) if (!(await done())) gone.push(account)
  if (gone.length > 0) await manager.keeper.remove(vault, (current) => without(current, gone))
}

/** What is left without accounts that were removed while they were being moved; not without what a sign-in put in their place. */
function without(record: CredentialRecord, gone: readonly Account[]): CredentialRecord | undefined {
  const moved = ({ id, tokens }: Account) =>
    gone.some((other) => other.id === id && other.tokens.accessToken === tokens.accessToken)
  return withAccounts(
    record,
    record.accounts.filter((account) => !moved(account)),
  )
}
