/** Our routes as handlers, for apps with `routes: false` that declare them themselves. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AnyReply, AnyRequest } from './any-server.js'
import { clientOf } from './lookup.js'
import type { ClientName } from './registered-clients.js'
import { authorize } from './routes/authorize.js'
import { callback } from './routes/callback.js'
import { confirm } from './routes/confirm.js'
import { resume } from './routes/resume.js'

/**
 * Answers the provider's callback on a route of your own, with `routes: false`.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleCallback } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
 * ```
 */
export async function handleCallback(
  request: AnyRequest,
  reply: AnyReply,
  { client = 'oauth2' }: { readonly client?: ClientName } = {},
): Promise<FastifyReply> {
  return answer(callback, client, request, reply)
}

/**
 * Answers a request to sign in, or for more, on a route of your own, with `routes: false`.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleAuthorize } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/oauth2authorize', callbackRouteOptions, (request, reply) => handleAuthorize(request, reply))
 * ```
 */
export async function handleAuthorize(
  request: AnyRequest,
  reply: AnyReply,
  { client = 'oauth2' }: { readonly client?: ClientName } = {},
): Promise<FastifyReply> {
  return answer(authorize, client, request, reply)
}

/**
 * Answers the form in which a person confirms an account, with `userKey` and `routes: false`: a POST to `confirmPath`, as a form
 * is sent (`@fastify/formbody` reads it).
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleConfirm } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.post('/oauth2callback/confirm', callbackRouteOptions, (request, reply) => handleConfirm(request, reply))
 * ```
 */
export async function handleConfirm(
  request: AnyRequest,
  reply: AnyReply,
  { client = 'oauth2' }: { readonly client?: ClientName } = {},
): Promise<FastifyReply> {
  return answer(confirm, client, request, reply)
}

/**
 * Shows the form that a guard with `resume` kept, with `routes: false`: a GET of `resumePath`.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleResume } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/oauth2callback/resume', callbackRouteOptions, (request, reply) => handleResume(request, reply))
 * ```
 */
export async function handleResume(
  request: AnyRequest,
  reply: AnyReply,
  { client = 'oauth2' }: { readonly client?: ClientName } = {},
): Promise<FastifyReply> {
  return answer(resume, client, request, reply)
}

function answer(route: typeof callback, name: string, request: AnyRequest, reply: AnyReply): Promise<FastifyReply> {
  return route(clientOf(request as FastifyRequest, name), request as FastifyRequest, reply as FastifyReply)
}
