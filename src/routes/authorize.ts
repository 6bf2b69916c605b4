/** `GET /oauth2authorize`: a person asks to sign in, or for more. RFC 6749 section 4.1.1. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import {
  CredentialsUnreadableError,
  NavigationRequiredError,
  ScopeNotDeclaredError,
  UserRequiredError,
} from '../errors.js'
import { answerError } from '../guards/answer.js'
import { challenge, isClientError } from '../guards/challenge.js'
import { isPrefetch } from '../guards/navigation.js'
import { requestState } from '../lookup.js'
import { isRequired } from '../provider/authentication.js'
import type { RequestOAuth2 } from '../request.js'
import { startFlow } from '../session/start-flow.js'
import { openTicket, type Ticket } from '../session/ticket.js'
import { testSignIn } from './test-sign-in.js'

/** Everything in the query but these three is ignored: a stranger may have written it. */
interface AuthorizeQuery {
  readonly return_url?: unknown
  readonly scope?: unknown
  readonly ticket?: unknown
}

export async function authorize(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  try {
    const tested = client.testSignIns.find(request)
    if (tested) return await testSignIn(client, request, reply, tested)
    if (!startedByPerson(request)) throw new NavigationRequiredError()
    return await begin(client, request, reply)
  } catch (error) {
    if (!isClientError(error)) throw error
    if (error instanceof UserRequiredError) {
      return challenge(client, request, reply, error, requestState(client, request, reply), [])
    }
    return answerError(client, request, reply, error)
  }
}

async function begin(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { options } = client
  const query = request.query as AuthorizeQuery
  const ticket = await ticketOf(client, query)
  const needed = [...(ticket.scopes ?? []), ...declaredScopes(client, query.scope)]
  const oauth2 = await readable(client, requestState(client, request, reply))
  if (options.userKey && oauth2.user === undefined && !options.resolveUser) throw new UserRequiredError()
  const another = ticket.account === 'new'
  const named = another ? undefined : ticket.account
  oauth2.select(named)
  const account = another ? undefined : oauth2.current
  const required = { acrValues: ticket.acrValues, maxAge: ticket.maxAge }
  // Asking for more than signing in takes adds to somebody's grant, and so does everything where the app knows its user.
  // Whoever is to sign in again is to be the same person. Where nobody is signed in, it is about who that is.
  const more =
    !options.provider.scopes.covers(options.scopes, needed) || options.userKey !== undefined || isRequired(required)
  const somebody = named !== undefined && oauth2.user !== undefined
  const grant = somebody || (account !== undefined && more && oauth2.hasCredentials())
  return startFlow(client, request, reply, {
    intent: grant ? 'grant' : 'sign-in',
    needed,
    granted: account?.tokens.scopes ?? [],
    returnUrl: client.returnUrl(query.return_url),
    user: options.userKey ? oauth2.user : undefined,
    // Somebody who was asked for by name is who has to come back, also when nothing is stored of them.
    identity: named ?? (grant && account?.identified ? account.id : undefined),
    another,
    required,
    prompt: ticket.prompt,
    loginHint: ticket.loginHint ?? account?.email,
  })
}

/**
 * What is stored, or nothing where a session can no longer be read: signing in again is then the one way on, and replaces
 * only what is of use to nobody. What a store keeps is for its operator to mend.
 */
async function readable(client: Client, oauth2: RequestOAuth2): Promise<RequestOAuth2> {
  try {
    return await oauth2.load()
  } catch (error) {
    if (client.options.store || !(error instanceof CredentialsUnreadableError)) throw error
    return oauth2.loadNothing()
  }
}

async function ticketOf(client: Client, { ticket }: AuthorizeQuery): Promise<Ticket> {
  if (ticket === undefined) return {}
  return openTicket(client.options.keys, client.id, String(ticket), client.options.clock())
}

/** @throws {ScopeNotDeclaredError} */
function declaredScopes(client: Client, scope: unknown): string[] {
  if (scope === undefined) return []
  const scopes = [scope]
    .flat()
    .flatMap((value) => String(value).split(' '))
    .filter(Boolean)
  if (!scopes.every((name) => client.declaredScopes.has(name))) throw new ScopeNotDeclaredError()
  return scopes
}

/** A page elsewhere can load any URL as an image or a frame; only a navigation is somebody's wish. */
function startedByPerson(request: FastifyRequest): boolean {
  const mode = request.headers['sec-fetch-mode']
  const dest = request.headers['sec-fetch-dest']
  if (isPrefetch(request)) return false
  return (mode === undefined || mode === 'navigate') && (dest === undefined || dest === 'document')
}
