/**
 * What came back from the provider, whichever way: in the URL, or in a form that the browser posted. OAuth 2.0 Form Post
 * Response Mode, JARM, RFC 9700 section 4.6.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { StateInvalidError } from '../errors.js'
import { ANSWER_PARAMS, openAnswer } from '../flows/signed-answer.js'
import { isPosted, isSigned } from '../provider/profile.js'
import { hashState, type PendingFlow } from '../session/flow-cookie.js'
import { leaveSession } from '../session/session.js'

/** Answers of other response types and modes, which nobody asked for. RFC 9700 section 4.6. */
const FOREIGN = ['response', 'id_token', 'access_token', 'token_type', 'token']

/** What `hashState` makes. */
const HASH = /^[\w-]{43}$/

/** Bytes of a form. */
export const ANSWER_LIMIT = 65_536

export interface Answer {
  /** As it was received. */
  readonly query: string
  /** What it says; not to be believed before its flow is found. */
  readonly params: URLSearchParams
  /** Whether it came in a JWT of the provider's. */
  readonly signed: boolean
  /** Whether it came in a form. */
  readonly posted: boolean
}

/**
 * @returns the hash of its state alone, for a form that is not there any more
 * @throws {StateInvalidError}
 */
export async function readAnswer(client: Client, request: FastifyRequest): Promise<Answer | { readonly hash: string }> {
  const url = request.raw.url ?? ''
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : ''
  const hash = new URLSearchParams(query).get('flow')
  if (hash === null || !isPosted(client.options.provider.profile.responseMode))
    return open(client, request, query, false)
  // It names cookies and keys of the store, and anybody can write one.
  if (!HASH.test(hash)) throw new StateInvalidError()
  const form = await client.answers.find(request, hash)
  return form === undefined ? { hash } : open(client, request, form, true)
}

/**
 * A form from the provider's page. It comes from another site, so without the session: whoever the browser is is found out by
 * sending it here once more, with the answer sealed into a cookie and nothing of it in the URL.
 *
 * @throws {StateInvalidError} {@link AnswerTooLargeError}
 */
export async function forwardAnswer(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  leaveSession(request)
  if (!isPosted(client.options.provider.profile.responseMode)) throw new StateInvalidError()
  // Names may come twice, which is refused once there is somebody to refuse it to.
  const form = formOf(request.body).filter(([name]) => ANSWER_PARAMS.includes(name) || FOREIGN.includes(name))
  const { params, query } = await open(client, request, new URLSearchParams(form).toString(), true)
  const state = stateOf(params)
  const hash = hashState(state)
  // The flow's own cookie comes along from anywhere: without it, this browser did not ask for the answer.
  if (await client.flowCookies.find(request, client.id, state)) await client.answers.save(reply, hash, query)
  return reply.redirect(`${client.publicPrefix}${client.options.callbackPath}?flow=${hash}`, 303)
}

/** @throws {StateInvalidError} */
export function stateOf(params: URLSearchParams): string {
  const [state, ...more] = params.getAll('state')
  if (!state || more.length > 0 || state.length > 512) throw new StateInvalidError()
  return state
}

/** @throws {StateInvalidError} for what did not come the way that was asked for, a parameter that comes twice, and others' */
export function checkShape({ params, signed, posted }: Answer, { responseMode }: PendingFlow): void {
  if (signed !== isSigned(responseMode) || posted !== isPosted(responseMode)) throw new StateInvalidError()
  if (ANSWER_PARAMS.some((name) => params.getAll(name).length > 1)) throw new StateInvalidError()
  if (FOREIGN.some((name) => params.has(name))) throw new StateInvalidError()
}

/** @throws {StateInvalidError} {@link ProviderUnavailableError} */
async function open(client: Client, request: FastifyRequest, query: string, posted: boolean): Promise<Answer> {
  const { provider } = client.options
  const params = new URLSearchParams(query)
  // Where nobody asks for signed answers, one is not even looked at.
  const signed = params.has('response') && isSigned(provider.profile.responseMode)
  if (!signed) return { query, params, signed, posted }
  // Nobody who asked for nothing has us look for a provider that may be in trouble.
  if (!provider.isKnown && !(await client.flowCookies.some(request, client.id))) throw new StateInvalidError()
  return { query, params: await openAnswer(provider, params), signed, posted }
}

/** As text from our own route; as an object from whatever parser a route of the app's has. */
function formOf(body: unknown): [name: string, value: string][] {
  if (typeof body === 'string' || body instanceof URLSearchParams) return [...new URLSearchParams(body)]
  return Object.entries(body ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one): [string, string] => [name, String(one)]),
  )
}
