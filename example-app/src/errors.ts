/** What people see when something went wrong; programs get Fastify's JSON. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { OAuth2ClientError, type OAuth2ClientOptions, oauthAware } from 'fastify-oauth2client'
import { answer, wantsHtml } from './answer.js'
import { errorPage, type WayOn } from './pages/error.js'
import { scopeList } from './pages/parts.js'
import type { Service } from './services.js'

export function handleErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    // The plugin answers its own errors: when credentials die inside a handler, the person is sent to sign in again.
    if (error instanceof OAuth2ClientError) return reply.send(error)
    const statusCode = error.statusCode ?? 500
    if (statusCode >= 500) request.log.error(error)
    return answerError(
      request,
      reply,
      {
        statusCode,
        code: error.code,
        message: statusCode === 500 ? 'Something went wrong on our side.' : error.message,
      },
      wayBack(request),
    )
  })
  app.setNotFoundHandler({ preHandler: oauthAware() }, (request, reply) =>
    answerError(request, reply, { statusCode: 404, code: 'NOT_FOUND', message: 'There is no such page.' }),
  )
}

/**
 * The `onError` option of the plugin, whose own answers are good enough nearly everywhere: a redirect or a small page for
 * people, JSON for programs. Two kinds of errors look better in our own layout, and whatever is not answered here is left
 * to the plugin.
 */
export function answerPeople(service: Service): NonNullable<OAuth2ClientOptions['onError']> {
  return async (error, request, reply) => {
    if (!wantsHtml(request)) return undefined
    const { statusCode, code, message, details } = error
    if (code === 'FST_OAUTH2_SCOPE_DECLINED') {
      const scopes = details?.missingScopes as string[]
      // The person said no before, so nothing asks again by itself. This link does.
      const link = await request.oauth2.authorizeUrl(request.url, { scopes })
      return answerError(request, reply, { statusCode, code, message }, { link, missing: scopeList(scopes, service) })
    }
    if (request.method !== 'POST') return undefined
    // A form that was posted after the access ended cannot be redirected.
    const back = new URLSearchParams({ return_url: '/profile' })
    const link = typeof details?.authorizeUrl === 'string' ? `${details.authorizeUrl}&${back}` : undefined
    return answerError(request, reply, { statusCode, code, message }, { link })
  }
}

/** Where a form is, for those that failed; a page that failed can be asked for again. */
const FORMS: Readonly<Record<string, string>> = {
  '/notes': '/profile',
  '/connections/revoke': '/connections',
  '/jobs/refresh': '/jobs/refresh',
}

/** By the route, and not by the address: that could be one that leads to another site, such as `//other.example`. */
function wayBack({ method, routeOptions: { url } }: FastifyRequest): WayOn {
  if (method === 'GET') return { link: url, text: 'Try again' }
  return { link: FORMS[url ?? ''], text: 'Back to the form' }
}

function answerError(
  request: FastifyRequest,
  reply: FastifyReply,
  error: { readonly statusCode: number; readonly code: string; readonly message: string },
  way?: WayOn,
): FastifyReply {
  return answer(request, reply.code(error.statusCode), error, errorPage(error, way))
}
