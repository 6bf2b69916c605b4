/** Finds the client that a request is about, and the state that this request has with it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from './client.js'
import { NotRegisteredError } from './errors.js'
import { RequestOAuth2 } from './request.js'

/** On what `fastify[name]` is: the client behind it. */
export const kClient = Symbol('fastify-oauth2client.client')
/** On a request: its states, one for each client that was asked for. */
export const kStates = Symbol('fastify-oauth2client.states')
/** On a request: the reply to it. The app can sign people out where no guard has handed it to us. */
export const kReply = Symbol('fastify-oauth2client.reply')
/** In the config of our own routes, which a guard over everything must not close: they lead through it. */
export const kOwnRoute = Symbol('fastify-oauth2client.route')

/** @throws {NotRegisteredError} */
export function clientOf(request: FastifyRequest, name: string): Client {
  const client = registeredClient(request.server, name)
  if (!client) throw new NotRegisteredError(name)
  return client
}

/** The client of that name as seen from an instance: its own, or that of the nearest parent. */
export function registeredClient(server: FastifyInstance, name: string): Client | undefined {
  return (server as unknown as Record<string, { [kClient]?: Client } | undefined>)[name]?.[kClient]
}

export function requestState(client: Client, request: FastifyRequest, reply?: FastifyReply): RequestOAuth2 {
  const holder = request as { [kStates]?: RequestOAuth2[] | null; [kReply]?: FastifyReply | null }
  holder[kStates] ??= []
  const states = holder[kStates]
  let state: RequestOAuth2 | undefined
  for (const candidate of states) if (candidate.belongsTo(client)) state = candidate
  if (!state) {
    state = new RequestOAuth2(client, request, isOwnRoute(client, request))
    states.push(state)
  }
  state.reply ??= reply ?? holder[kReply] ?? undefined
  return state
}

/** Whether it is the config of a route of ours, as far as that is all there is to go by. */
export function isOwnConfig(config: unknown): boolean {
  return (config as { [kOwnRoute]?: true } | undefined)?.[kOwnRoute] === true
}

/** Whether it is one of our routes, also where the app declared it. */
function isOwnRoute(client: Client, { routeOptions: { config, url } }: FastifyRequest): boolean {
  return (
    isOwnConfig(config) ||
    (!client.options.routes &&
      (url === client.options.callbackPath || url === client.confirmPath || url === client.resumePath))
  )
}
