/** Mounts our routes in a context of their own, so that nothing they need changes the app's. */
import type { FastifyPluginAsync, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Client } from '../client.js'
import { kOwnRoute } from '../lookup.js'

type Handler = (client: Client, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** Bytes. Our forms hold a token and a path. */
const FORM_LIMIT = 16_384
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
 * Options for a route of your own that calls `handleCallback` or `handleAuthorize`: no HEAD route, which would use up a code,
 * and no query in the log, which holds codes.
 */
export const callbackRouteOptions: Readonly<RouteShorthandOptions> = Object.freeze(quiet({}))

export const registerRoutes: FastifyPluginAsync<{
  readonly client: Client
  readonly authorize: Handler
  readonly callback: Handler
  readonly confirm: Handler
  readonly logout: Handler
}> = async (fastify, { client, authorize, callback, confirm, logout }) => {
  const { options } = client
  // Paths are complete already; within a prefixed context Fastify would add the prefix again.
  const path = (full: string) => full.slice(fastify.prefix.length)
  const shared = quiet(options.routeOptions)
  fastify.get(path(options.authorizePath), shared, (request, reply) => authorize(client, request, reply))
  fastify.get(path(options.callbackPath), shared, (request, reply) => callback(client, request, reply))
  const refuseOthers = (url: string, allowed: 'GET' | 'POST') => {
    // What Fastify answers and logs where there is no route repeats the whole URL, with the code in it.
    const { config, logSerializers } = shared as Required<RouteShorthandOptions>
    const refuse = (_request: unknown, reply: FastifyReply) => methodNotAllowed(reply, allowed)
    const method = METHODS.filter((name) => name !== allowed)
    fastify.route({ method, url: path(url), config, logSerializers, onRequest: refuse, handler: refuse })
  }
  for (const url of [options.authorizePath, options.callbackPath]) refuseOthers(url, 'GET')
  const confirms = options.userKey !== undefined
  if (!options.logout && !confirms) return
  if (!fastify.hasContentTypeParser('application/x-www-form-urlencoded')) {
    fastify.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_LIMIT },
      (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body as string))),
    )
  }
  if (options.logout) fastify.post(path(options.logoutPath), shared, (request, reply) => logout(client, request, reply))
  if (!confirms) return
  fastify.post(path(client.confirmPath), shared, (request, reply) => confirm(client, request, reply))
  refuseOthers(client.confirmPath, 'POST')
}

async function methodNotAllowed(reply: FastifyReply, allowed: 'GET' | 'POST'): Promise<FastifyReply> {
  const message =
    allowed === 'GET' ? 'This is opened by browsers, with GET.' : 'This is where a form is sent to, with POST.'
  reply.code(405).headers({ allow: allowed, 'cache-control': 'no-store' })
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
