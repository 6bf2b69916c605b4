/** The guards: who may pass. What the others get is in `challenge.ts`. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { InsufficientScopeError, OptionError, UserRequiredError } from '../errors.js'
import { clientOf, kOwnRoute, requestState } from '../lookup.js'
import { parseScopes, type ScopeInput } from '../provider/scopes.js'
import type { RequestOAuth2 } from '../request.js'
import { challenge, isClientError } from './challenge.js'

// biome-ignore lint/suspicious/noExplicitAny: only this form fits http2 servers, custom loggers and typed routes alike
type AnyRequest = FastifyRequest<any, any, any, any, any, any, any>
// biome-ignore lint/suspicious/noExplicitAny: as above
type AnyReply = FastifyReply<any, any, any, any, any, any, any>

/** A hook for `onRequest`, `preValidation` or `preHandler` of any route, whatever the server and its types are. */
export type Guard = (request: AnyRequest, reply: AnyReply) => Promise<unknown>

export interface GuardOptions {
  /** Name of the client. Default `'oauth2'`. */
  readonly client?: string
  /** The connected account that is used. Default: the first one. */
  readonly account?: string
}

/**
 * Lets a request pass when its user granted `scopes`, besides those of the options, and sees to it that the access token
 * works. Anybody else is asked for them, or told.
 *
 * @param scopes `'a b'` or `['a', 'b']`; default: only those of the options
 * @throws {OptionError} when made with something that is not a scope
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { requireOAuth } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/files', { onRequest: requireOAuth('files.read') }, async (request) => {
 *   const response = await request.oauth2.fetch('https://api.example.com/files')
 *   return response.json()
 * })
 * ```
 */
export function requireOAuth(scopes?: ScopeInput, options: GuardOptions = {}): Guard {
  checkCalled(scopes, 'requireOAuth')
  const own = parseScopes(scopes, 'requireOAuth(scopes)')
  const name = checkOptions(options, 'requireOAuth').client ?? 'oauth2'
  // What a guard needs of a client never changes: it is put together once for each.
  const compiled = new WeakMap<Client, readonly string[]>()
  return async (request, reply) => {
    const client = clientOf(request, name)
    let needed = compiled.get(client)
    if (!needed) {
      client.declare(own)
      // Whether lasting access is granted shows in the refresh token, not in the scopes.
      needed = client.options.provider.scopes
        .union(client.options.scopes, own)
        .filter((scope) => scope !== 'offline_access')
      compiled.set(client, needed)
    }
    return guard(client, request, reply, needed, options.account)
  }
}

/**
 * Loads `request.oauth2` and lets everybody pass.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { oauthAware } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/', { onRequest: oauthAware() }, async (request) => `Hello ${request.oauth2.email ?? 'stranger'}`)
 * ```
 */
export function oauthAware(options: Pick<GuardOptions, 'client'> = {}): Guard {
  checkCalled(options, 'oauthAware')
  const name = checkOptions(options, 'oauthAware').client ?? 'oauth2'
  return (request, reply) => aware(clientOf(request, name), request, reply)
}

async function guard(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  needed: readonly string[],
  account?: string,
): Promise<unknown> {
  // A guard over everything also stands before the routes that people come through to get past it.
  if (isOwnRoute(client, request)) return aware(client, request, reply)
  const oauth2 = requestState(client, request, reply)
  try {
    await oauth2.load({ recall: true })
    if (client.options.userKey && oauth2.user === undefined && !client.options.resolveUser)
      throw new UserRequiredError()
    oauth2.select(account)
    await oauth2.ensureUsable()
    const covered = () => client.options.provider.scopes.covers(oauth2.scopes, needed)
    if (!covered() && (await oauth2.confirm())) await oauth2.ensureUsable()
    if (!covered()) throw new InsufficientScopeError()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answered(reply, challenge(client, request, reply, error, oauth2, needed))
  }
  answerForHandler(client, request, reply, oauth2, needed)
  await client.outcome.settle(request, reply, client.options.provider.scopes, oauth2.scopes)
  return undefined
}

async function aware(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const oauth2 = requestState(client, request, reply)
  try {
    await oauth2.load()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answered(reply, challenge(client, request, reply, error, oauth2, client.options.scopes))
  }
  answerForHandler(client, request, reply, oauth2, client.options.scopes)
  if (oauth2.hasCredentials())
    await client.outcome.settle(request, reply, client.options.provider.scopes, oauth2.scopes)
  return undefined
}

function isOwnRoute(client: Client, { routeOptions: { config, url } }: FastifyRequest): boolean {
  const own = (config as { [kOwnRoute]?: true } | undefined)?.[kOwnRoute] === true
  return own || (!client.options.routes && (url === client.options.callbackPath || url === client.confirmPath))
}

/** Ends a hook that has sent an answer. Returned, always: a hook that sends and does not say so lets the handler run. */
async function answered(reply: FastifyReply, sending: Promise<FastifyReply>): Promise<FastifyReply> {
  await sending
  // Whoever hangs up while a session is being saved ends the wait before anything was sent, and Fastify would go on to the
  // handler: for somebody who may not pass, and with a second response.
  if (!reply.sent) reply.hijack()
  return reply
}

/**
 * When credentials die while the handler uses them, the error gets the answer that the guard would have given, unless the
 * app's error handler gives one of its own. No hook of Fastify can still redirect at that point; so after such a failure,
 * and only then, we look at what is sent: first the error on its way to the error handler, then whatever that one makes of it.
 */
function answerForHandler(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  oauth2: RequestOAuth2,
  needed: readonly string[],
): void {
  oauth2.onFailure = (failure) => {
    oauth2.onFailure = undefined
    const { send } = reply
    let handled = false
    reply.send = function (this: FastifyReply, ...args: [payload?: unknown]) {
      if (args[0] === failure && !handled) {
        handled = true
        return send.apply(reply, args)
      }
      reply.send = send
      if (args[0] !== failure || !isClientError(failure)) return send.apply(reply, args)
      // An async error handler that returns nothing makes Fastify send that nothing while we are not done yet.
      reply.send = ((...late: [payload?: unknown]) =>
        late.length > 0 && late[0] === undefined ? reply : send.apply(reply, late)) as typeof send
      challenge(client, request, reply, failure, oauth2, needed).catch((error: unknown) => send.call(reply, error))
      return reply
    } as typeof send
  }
}

/** `onRequest: requireOAuth` hands the request to what should have made the guard. */
function checkCalled(argument: unknown, guardName: string): void {
  if (typeof argument === 'object' && argument !== null && 'raw' in argument && 'headers' in argument) {
    throw new OptionError(guardName, `makes a guard, and is not one itself. Write it with parentheses: ${guardName}().`)
  }
}

function checkOptions<T extends GuardOptions>(options: T, guardName: string): T {
  for (const [name, value] of Object.entries(options)) {
    if (name !== 'client' && name !== 'account') {
      throw new OptionError(`${guardName}({ ${name} })`, 'is not known. Known are: client, account.')
    }
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw new OptionError(`${guardName}({ ${name} })`, 'must be a non-empty string.')
    }
  }
  return options
}
