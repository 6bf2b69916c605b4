/** The end of a flow that brought credentials: the session is linked to them, and the person goes back to where they were. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { requestState } from '../lookup.js'
import { type PendingFlow, same } from '../session/flow-cookie.js'
import { makeLink } from '../session/link.js'
import { shortHash } from '../session/link-text.js'
import type { appData } from '../session/session.js'
import type { Connected, Linked } from './connect.js'

export interface Conclusion {
  readonly flow: Pick<PendingFlow, 'scopes' | 'returnUrl' | 'stepUp' | 'form'>
  /** Of the flow's state: its callback can be opened again. */
  readonly hash: string
  readonly completion: Linked
  /** Present for the one request that stored the credentials; others joined it. */
  readonly authorized: Connected['authorized'] | undefined
  /** What the app kept in the session before any of its hooks ran. */
  readonly before: ReturnType<typeof appData>
  /** The flow's cookie, which has done its work. */
  readonly flowCookie?: string
}

/** Where a flow led that was concluded in this session before: a reload, or the back button, asks again. */
export function concludedAt(client: Client, request: FastifyRequest, hash: string): string | undefined {
  const done = client.linkOf(request)?.done?.find(([known]) => same(known, shortHash(hash)))
  return done && client.returnUrl(done[1])
}

export async function conclude(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  { flow, hash, completion, authorized, before, flowCookie }: Conclusion,
): Promise<FastifyReply> {
  const { linkId, ...link } = completion
  const returnUrl = backTo(client, flow)
  if (flow.form !== undefined) await client.heldForms.release(request, flow.form, link.user)
  await makeLink(client, request, { ...link, id: linkId, done: [hash, returnUrl] }, before)
  if (flowCookie !== undefined) clearFlow(client, request, reply, flowCookie, hash)
  await client.outcome.save(reply, { scopes: flow.scopes, stepUp: flow.stepUp })
  requestState(client, request, reply).forget()
  if (authorized) {
    client.options.watch?.signIn('completed')
    logDifference(client, request, flow.scopes, authorized.credentials.scopes)
    await client.options.onAuthorized?.(request, { ...authorized, user: link.user, returnUrl })
  }
  // 303, since it may answer a form: the browser must not post it again to wherever it goes next. RFC 9700 section 4.12.
  return reply.redirect(returnUrl, 303)
}

/** Takes a flow that is over out of the browser, and its answer, if that waited there. */
export function clearFlow(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  flowCookie: string,
  hash: string,
): void {
  client.flowCookies.clear(reply, flowCookie)
  client.answers.clear(request, reply, hash)
}

/** Whoever posted a form sees that first. */
function backTo(client: Client, { form, returnUrl }: Conclusion['flow']): string {
  return form === undefined ? client.returnUrl(returnUrl) : `${client.publicPrefix}${client.resumePath}?form=${form}`
}

/** Scopes are no secret, and what became of them is the first thing to know when a page says that one is missing. */
function logDifference(
  { name, options }: Client,
  request: FastifyRequest,
  requested: readonly string[],
  granted: readonly string[],
): void {
  const missing = options.provider.scopes.missing(granted, requested)
  if (missing.length > 0) {
    request.log.info({ client: name, requested, granted, missing }, 'less was granted than was asked for')
  }
}
