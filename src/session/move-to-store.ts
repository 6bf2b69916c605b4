/** An app that changed from `storage: 'session'` to a store: what its people's sessions hold moves there with their next request. */
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { type Account, accountOf, type CredentialRecord } from '../credentials/record.js'
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
  const moving: { account: Account; done: () => Promise<void> }[] = []
  for (const account of record.accounts) {
    const move = await manager.moves.claim(user, account.id)
    if (move) moving.push({ account, done: move.done })
  }
  if (moving.length === 0) return
  await manager.keeper.update(manager.vaultOf(user), (current = { ...record, accounts: [] }) => {
    // What the store already has of somebody is newer than what a session still carries.
    const added = moving.map(({ account }) => account).filter(({ id }) => !accountOf(current, id))
    return added.length > 0 ? { ...current, accounts: [...current.accounts, ...added] } : undefined
  })
  for (const { done } of moving) await done()
}
