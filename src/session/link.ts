/** Whose credentials a browser's session stands for: made at sign-in, ended at sign-out. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import {
  appData,
  isEncrypted,
  linkedClients,
  readLink,
  rotateSession,
  type SessionLink,
  sessionOf,
  writeLink,
} from './session.js'

const MAXIMUM_DONE = 5

/** What a completed flow leaves in the session. */
export interface NewLink {
  readonly id: string
  readonly user: string
  readonly credentials?: string
  /** The flow that made it, so that its callback can be opened again. */
  readonly done: readonly [hash: string, returnUrl: string]
}

/**
 * Links the session to a user. Its id changes when somebody else than before is signed in by that; then what the app kept
 * for the former person goes, except what it wrote since `before` was taken.
 *
 * @throws {SessionTooLargeError} {@link StoreUnavailableError}
 */
export async function makeLink(
  client: Client,
  request: FastifyRequest,
  { done, ...link }: NewLink,
  before: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const { id: name } = client
  const previous = readLink(request, name)
  const next: SessionLink = { ...link, done: [done, ...(previous?.done ?? [])].slice(0, MAXIMUM_DONE) }
  // An app with users of its own decides itself when its session changes hands.
  if (client.options.userKey || previous?.user === link.user) {
    writeLink(request, name, next)
    if (previous?.user === link.user) await client.sessionStorage.supersede(previous, next, isEncrypted(request))
    return
  }
  if (previous?.user === undefined) {
    writeLink(request, name, next)
    await rotateSession(request, { keep: () => true, keepOurs: true })
    return
  }
  client.sessionStorage.end(previous.id)
  const after = appData(request)
  await rotateSession(request, { keep: (key) => before.get(key) !== after.get(key), keepOurs: false })
  writeLink(request, name, { ...link, done: [done] })
}

/** Ends the link. When nobody is signed in any more, the session starts over. */
export async function endLink(client: Client, request: FastifyRequest, reply: FastifyReply | undefined): Promise<void> {
  if (reply) client.outcome.clear(request, reply)
  // An app may have ended its session already, which ends every link in it.
  if ((request as { session?: unknown }).session === null) return
  sessionOf(request)
  const link = readLink(request, client.id)
  if (!link) return
  client.sessionStorage.end(link.id)
  writeLink(request, client.id, undefined)
  if (client.options.userKey) return
  const others = linkedClients(request).length > 0
  await rotateSession(request, { keep: () => others, keepOurs: others })
}
