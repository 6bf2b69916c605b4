/** Where in a session the credentials of its person are, with `storage: 'session'`. */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { SessionSlot } from '../storage/session-storage.js'
import { isEncrypted, persistSession, readLink, type SessionLink, writeLink } from './session.js'

/** @param read what is in the session, from whoever has just read it */
export function slotOf(client: Client, request: FastifyRequest, user: string, read?: SessionLink): SessionSlot {
  const { id: name } = client
  const found = client.linkOf(request, read)
  // Credentials of whoever used this session before are nobody else's.
  const link = found?.user === user ? found : undefined
  const id = link?.id ?? randomUUID()
  return {
    id,
    get encrypted() {
      return isEncrypted(request)
    },
    read: () => link?.credentials,
    write: async (credentials: string | undefined) => {
      const current = readLink(request, name)
      const { credentials: _, ...rest } = current?.id === id ? current : { id, user }
      writeLink(request, name, credentials === undefined ? rest : { ...rest, credentials })
      await persistSession(request)
    },
  }
}
