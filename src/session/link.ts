/** Whose credentials a browser's session stands for: made at sign-in, ended at sign-out. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { UserSignIn } from '../credentials/sign-ins.js'
import {
  appData,
  isEncrypted,
  linkedClients,
  type Proof,
  readLink,
  rotateSession,
  type SessionLink,
  sessionOf,
  writeLink,
} from './session.js'

const MAXIMUM_DONE = 5
const MAXIMUM_PROOFS = 5

/** What a completed flow leaves in the session. */
export interface NewLink extends UserSignIn {
  readonly id: string
  readonly user: string
  readonly credentials?: string
  /** How the person signed in for it. */
  readonly proof?: Proof
  /** Whether the link before it had ended, so that nothing of it counts. */
  readonly renewed?: boolean
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
  { done, renewed, proof, ...link }: NewLink,
  before: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const { id: name } = client
  const previous = renewed ? undefined : client.linkOf(request)
  const proofs = joinProofs(previous?.user === link.user ? previous.proofs : undefined, proof)
  const next: SessionLink = {
    ...link,
    ...(proofs.length > 0 ? { proofs } : {}),
    done: [done, ...(previous?.done ?? [])].slice(0, MAXIMUM_DONE),
  }
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
  writeLink(request, name, { ...next, done: [done] })
}

/** A sign-in takes the place of the one before it to the same account, also where it says less. */
function joinProofs(before: readonly Proof[] = [], proof?: Proof): readonly Proof[] {
  // A process of the version before this one completed the flow, and says nothing.
  if (!proof) return before
  const says = proof.auth_time !== undefined || proof.acr !== undefined
  const others = before.filter(({ account }) => account !== proof.account)
  return [...(says ? [proof] : []), ...others].slice(0, MAXIMUM_PROOFS)
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
