/**
 * `GET /oauth2callback`, and `POST` where answers come in forms: the provider's answer. State first: until the flow that it
 * answers is found, unexpired and bound to this browser, nothing in the request is believed, stored or shown. RFC 6749
 * section 4.1.2, RFC 9207, RFC 9700.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { unavailable } from '../credentials/refresh/refresher.js'
import { AccountMismatchError, StateInvalidError } from '../errors.js'
import { authorizationError } from '../flows/authorization-error.js'
import { answerError, type Way } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { acceptsHtml } from '../guards/navigation.js'
import type { Provider } from '../provider/provider.js'
import { rememberCause } from '../session/cause.js'
import { hashState, type PendingFlow, requirementsOf, same } from '../session/flow-cookie.js'
import { appData, readBinding } from '../session/session.js'
import { type StartFlow, startFlow } from '../session/start-flow.js'
import { sealTicket } from '../session/ticket.js'
import { type Answer, checkShape, forwardAnswer, readAnswer, stateOf } from './answer.js'
import { clearFlow, conclude, concludedAt } from './conclude.js'
import { accountForDisplay, askToConfirm, type Unconfirmed } from './confirm.js'
import { ConfirmationNeeded, type Connected, connectAccount, type Linked } from './connect.js'
import { exchangeCode } from './exchange.js'
import { ReconsentNeeded } from './reconsent.js'

export async function callback(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  const posted = request.method === 'POST'
  const { watch } = client.options
  let pending: { name: string; flow: PendingFlow } | undefined
  const answerTo = async () => {
    if (posted) return forwardAnswer(client, request, reply)
    const answer = await readAnswer(client, request)
    if ('hash' in answer) return reopened(client, request, reply, answer.hash)
    const state = stateOf(answer.params)
    pending = await findFlow(client, request, state)
    if (!pending) return reopened(client, request, reply, hashState(state))
    checkAnswer(pending.flow, answer, client.options.provider, await client.options.provider.metadata())
    return finish(client, request, reply, pending, answer)
  }
  try {
    return await (watch?.callback(answerTo) ?? answerTo())
  } catch (error) {
    if (!isClientError(error)) throw error
    watch?.signIn('failed', error.code)
    // What began elsewhere does not become ours by starting again, and of what is no flow nobody knows.
    rememberCause(client, request, reply, pending ? pending.flow.crossSite === true : true)
    const person = posted ? acceptsHtml(request.headers.accept) : undefined
    return answerError(client, request, reply, error, await startAgain(client, pending?.flow), person)
  }
}

/** @throws {StateInvalidError} for a state that this browser's session did not send out */
async function findFlow(client: Client, request: FastifyRequest, state: string) {
  const pending = await client.flowCookies.find(request, client.id, state)
  if (!pending) return undefined
  const binding = readBinding(request)
  if (binding === undefined) {
    // The flow's own cookie came back, so cookies work; what an operator needs to know is which one did not.
    request.log.warn(
      { client: client.name },
      'the callback came without the session that began the flow: check secure, domain, path and sameSite of the session cookie',
    )
    throw new StateInvalidError()
  }
  // Two tabs of a browser without a session get one each, and only the later one stays. Who is signed in is checked then.
  if (!pending.flow.fresh && !same(binding, pending.flow.binding)) throw new StateInvalidError()
  return pending
}

/** A callback that was answered before, opened again by a reload or the back button. */
async function reopened(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  hash: string,
): Promise<FastifyReply> {
  client.answers.clear(request, reply, hash)
  const led = concludedAt(client, request, hash)
  if (led !== undefined) return reply.redirect(led, 303)
  const waiting = client.options.userKey && (await client.pendingLinks.find(request, hash))
  if (waiting) {
    if ((await client.userFor(request)) !== waiting.flow.user) throw new AccountMismatchError()
    return askToConfirm(client, request, reply, hash, accountForDisplay(waiting.account))
  }
  request.log.info(
    { client: client.name },
    'the callback answers no flow of this browser: it took too long, cookies are blocked, or the app is open under another host than that of baseUrl',
  )
  throw new StateInvalidError()
}

/**
 * Whether the answer comes from the provider that was asked. Errors are bound to it too.
 *
 * @throws {StateInvalidError}
 */
function checkAnswer(
  flow: PendingFlow,
  answer: Answer,
  provider: Provider,
  metadata: { readonly issuer: string; readonly authorization_response_iss_parameter_supported?: boolean },
): void {
  checkShape(answer, flow)
  const { params } = answer
  const issuer = params.get('iss')
  if (flow.issuer !== metadata.issuer) throw new StateInvalidError()
  const known = issuer === flow.issuer || (issuer !== null && provider.isIssuer(issuer))
  if (issuer === null ? metadata.authorization_response_iss_parameter_supported : !known) {
    throw new StateInvalidError()
  }
  if (!params.get('code') && !params.get('error')) throw new StateInvalidError()
}

async function finish(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  { name, flow }: { name: string; flow: PendingFlow },
  { params, query }: Answer,
): Promise<FastifyReply> {
  const hash = hashState(flow.state)
  const before = appData(request)
  let authorized: Connected['authorized'] | undefined
  try {
    const error = params.get('error')
    if (error !== null && flow.silent && NEEDS_PERSON.has(error)) {
      return await goOn(client, request, reply, name, flow, { interactive: true })
    }
    if (error !== null) throw authorizationError(error)
    const run = await client.completions.run(hash, client.options.provider.timeout, () =>
      complete(client, request, flow, hash, query, (connected) => {
        authorized = connected
      }),
    )
    // Another process has the flow and did not say in time what came of it.
    if (!run) throw unavailable(5)
    const { completion } = run
    if ('user' in completion) {
      return await conclude(client, request, reply, { flow, hash, completion, authorized, before, flowCookie: name })
    }
    client.pendingLinks.carry(request, reply, completion.pending)
    clearFlow(client, request, reply, name, hash)
    return await askToConfirm(client, request, reply, hash, completion.account)
  } catch (error) {
    if (error instanceof ReconsentNeeded) return goOn(client, request, reply, name, flow, { reconsent: true })
    // These leave the code unused or the flow to somebody else; after anything else it is spent.
    if (isClientError(error) && KEEPS_FLOW.has(error.code)) throw error
    clearFlow(client, request, reply, name, hash)
    if (isClientError(error)) {
      await client.outcome.save(reply, { scopes: flow.scopes, code: error.code, stepUp: flow.stepUp })
    }
    throw error
  }
}

/** What a provider says that would have had to ask somebody. OpenID Connect Core section 3.1.2.6. */
const NEEDS_PERSON = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
])

/** Asks once more for the same, in another way. */
function goOn(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  name: string,
  flow: PendingFlow,
  how: Pick<StartFlow, 'interactive' | 'reconsent'>,
): Promise<FastifyReply> {
  const { intent, needed, scopes: granted, returnUrl, form, user, identity, another = false, crossSite = false } = flow
  clearFlow(client, request, reply, name, hashState(flow.state))
  const same = { intent, needed, granted, returnUrl, form, user, identity, another, crossSite }
  return startFlow(client, request, reply, { ...same, required: requirementsOf(flow), ...how })
}

const KEEPS_FLOW = new Set(['FST_OAUTH2_STATE_INVALID', 'FST_OAUTH2_STORE_UNAVAILABLE'])

async function complete(
  client: Client,
  request: FastifyRequest,
  flow: PendingFlow,
  hash: string,
  query: string,
  onConnected: (authorized: Connected['authorized']) => void,
): Promise<Linked | Unconfirmed> {
  const account = await exchangeCode(client, request, flow, query)
  try {
    const { completion, authorized } = await connectAccount(client, request, flow, account)
    onConnected(authorized)
    return completion
  } catch (error) {
    const { intent, needed, scopes, returnUrl, form, user, identity, another, stepUp, startedAt } = flow
    if (!(error instanceof ConfirmationNeeded) || user === undefined) throw error
    const pending = await client.pendingLinks.hold(hash, {
      account,
      flow: {
        intent,
        needed,
        scopes,
        returnUrl,
        user,
        startedAt,
        ...(form === undefined ? {} : { form }),
        ...(identity === undefined ? {} : { identity }),
        ...(another ? { another } : {}),
        ...(stepUp ? { stepUp } : {}),
      },
      // Not that of the flow: another tab may have put this one in its place.
      binding: readBinding(request) as string,
    })
    return { account: accountForDisplay(account), ...(pending === undefined ? {} : { pending }) }
  }
}

async function startAgain(client: Client, flow: PendingFlow | undefined): Promise<Way> {
  const query = new URLSearchParams()
  if (flow) {
    const { keys, clock } = client.options
    query.set('ticket', await sealTicket(keys, client.id, { scopes: flow.needed, ...requirementsOf(flow) }, clock()))
    query.set('return_url', flow.returnUrl)
  }
  return { href: query.size > 0 ? `${client.authorizePath}?${query}` : client.authorizePath, text: 'Start again' }
}
