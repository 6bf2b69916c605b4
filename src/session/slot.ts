/** Where in a session the credentials of its person are, with `storage: 'session'`. */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { SessionSlot } from '../storage/session-vault.js'
import { isEncrypted, persistSession, readLink, type SessionLink, writeLink } from './session.js'

/** @param read what is in the session, from whoever has just read it */
export function slotOf(client: Client, request: FastifyRequest, user: string, read?: SessionLink): SessionSlot {
  const found = client.linkOf(request, read)
  // Credentials of whoever used this session before are nobody else's.
  return new RequestSlot(client.id, request, user, found?.user === user ? found : undefined)
}

class RequestSlot implements SessionSlot {
  readonly id: string
  readonly #name: string
  readonly #request: FastifyRequest
  readonly #user: string
  readonly #credentials: string | undefined

  constructor(name: string, request: FastifyRequest, user: string, link: SessionLink | undefined) {
    this.id = link?.id ?? randomUUID()
    this.#name = name
    this.#request = request
    this.#user = user
    this.#credentials = link?.credentials
  }

  get encrypted(): boolean {
    return isEncrypted(this.#request)
  }

  read(): string | undefined {
    return this.#credentials
  }

  async write(credentials: string | undefined): Promise<void> {
    const current = readLink(this.#request, this.#name)
    const { credentials: _, ...rest } = current?.id === this.id ? current : { id: this.id, user: this.#user }
    writeLink(this.#request, this.#name, credentials === undefined ? rest : { ...rest, credentials })
    await persistSession(this.#request)
  }
}
