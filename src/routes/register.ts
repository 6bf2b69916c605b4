/** Mounts our routes in a context of their own, so that nothing they need changes the app's. */
import type { FastifyPluginAsync, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Client } from '../client.js'
import { kOwnRoute } from '../lookup.js'
import { isPosted } from '../provider/profile.js'
import { ANSWER_LIMIT } from './answer.js'

type Handler = (client: Client, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** Bytes. Our forms hold a token and a path. */
const FORM_LIMIT = 16_384
/** Bytes. A little more than the longest token. */
const LOGOUT_TOKEN_LIMIT = 20_480
const FORM = 'application/x-www-form-urlencoded'
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Route options that are kept whatever else is set. */
function quiet(options: RouteShorthandOptions): RouteShorthandOptions {
  return {
    ...options,
    config: { ...options.config, [kOwnRoute]: true } as NonNullable<RouteShorthandOptions['config']>,
    // A HEAD request of a link preview or a scanner must not use up a code.
    exposeHeadRoute: false,
    // Codes, states and tickets are in the query: it stays out of the log.
    logSerializers: { ...options.logSerializers, req: withoutQuery(options.logSerializers?.req) },
  }
}

/**
 * Options for a route of your own that calls `handleCallback`, `handleAuthorize`, `handleConfirm` or `handleResume`: no HEAD
 * route, which would use up a code, and no query in the log, which holds codes.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleCallback } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * const own = { ...callbackRouteOptions, bodyLimit: 65_536 }
 * app.get('/signed-in', own, (request, reply) => handleCallback(request, reply))
 * ```
 */
export const callbackRouteOptions: Readonly<RouteShorthandOptions> = Object.freeze(quiet({}))

export const registerRoutes: FastifyPluginAsync<{
  readonly client: Client
  readonly authorize: Handler
  readonly callback: Handler
  readonly confirm: Handler
  readonly logout: Handler
  readonly resume: Handler
  readonly loggedOut: Handler
  readonly backchannelLogout: Handler
}> = async (fastify, { client, authorize, callback, confirm, resume, logout, loggedOut, backchannelLogout }) => {
  const { options } = client
  // Paths are complete already; within a prefixed context Fastify would add the prefix again.
  const path = (full: string) => full.slice(fastify.prefix.length)
  const shared = quiet(options.routeOptions)
  fastify.get(path(options.authorizePath), shared, (request, reply) => authorize(client, request, reply))
  fastify.get(path(options.callbackPath), shared, (request, reply) => callback(client, request, reply))
  fastify.get(path(client.resumePath), shared, (request, reply) => resume(client, request, reply))
  const posted = isPosted(options.provider.profile.responseMode)
  if (posted) {
    // In a context of its own: the form is read as it was sent, whatever parser the app has.
    fastify.register(async (forms) => {
      forms.removeAllContentTypeParsers()
      forms.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => done(null, body))
      const limited = { ...shared, bodyLimit: ANSWER_LIMIT }
      forms.post(path(options.callbackPath), limited, (request, reply) => callback(client, request, reply))
    })
  }
  const refuseOthers = (url: string, ...allowed: ('GET' | 'POST')[]) => {
    // What Fastify answers and logs where there is no route repeats the whole URL, with the code in it.
    const { config, logSerializers } = shared as Required<RouteShorthandOptions>
    const refuse = (_request: unknown, reply: FastifyReply) => methodNotAllowed(reply, allowed)
    const method = METHODS.filter((name) => !(allowed as string[]).includes(name))
    fastify.route({ method, url: path(url), config, logSerializers, onRequest: refuse, handler: refuse })
  }
  refuseOthers(options.authorizePath, 'GET')
  refuseOthers(options.callbackPath, 'GET', ...(posted ? (['POST'] as const) : []))
  refuseOthers(client.resumePath, 'GET')
  const confirms = options.userKey !== undefined
  if (!options.logout && !confirms && !options.backchannelLogout) return
  if (!fastify.hasContentTypeParser(FORM)) {
    fastify.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: FORM_LIMIT }, (_request, body, done) =>
      done(null, Object.fromEntries(new URLSearchParams(body as string))),
    )
  }
  if (options.logout) {
    fastify.post(path(options.logoutPath), shared, (request, reply) => logout(client, request, reply))
    if (options.providerLogout)
      fastify.get(path(options.logoutPath), shared, (request, reply) => loggedOut(client, request, reply))
  }
  if (options.backchannelLogout) {
    const own = { ...shared, bodyLimit: LOGOUT_TOKEN_LIMIT, onRequest: [uncached, ...[shared.onRequest ?? []].flat()] }
    fastify.post(path(client.backchannelPath), own, (request, reply) => backchannelLogout(client, request, reply))
    refuseOthers(client.backchannelPath, 'POST')
  }
  if (!confirms) return
  fastify.post(path(client.confirmPath), shared, (request, reply) => confirm(client, request, reply))
  refuseOthers(client.confirmPath, 'POST')
}

/** Also for what Fastify answers by itself. */
async function uncached(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.header('cache-control', 'no-store')
}

async function methodNotAllowed(reply: FastifyReply, allowed: readonly string[]): Promise<FastifyReply> {
  const message = allowed.includes('GET')
    ? 'This is opened by browsers, with GET.'
    : 'This is where a form is sent to, with POST.'
  reply.code(405).headers({ allow: allowed.join(', '), 'cache-control': 'no-store' })
  return reply.send({ statusCode: 405, error: 'Method Not Allowed', message })
}

function withoutQuery(serialize: ((value: unknown) => unknown) | undefined) {
  return (request: FastifyRequest): unknown => {
    const fields = (serialize?.(request) ?? {
      method: request.method,
      url: request.url,
      host: request.host,
      remoteAddress: request.ip,
    }) as Record<string, unknown>
    const url = String(fields.url ?? '')
    return { ...fields, url: url.includes('?') ? `${url.slice(0, url.indexOf('?'))}?…` : url }
  }
}
