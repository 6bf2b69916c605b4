/** `POST /oauth2logout`: ends this browser's link to the stored credentials. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { XsrfInvalidError } from '../errors.js'
import { answerError } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { acceptsHtml } from '../guards/navigation.js'
import { requestState } from '../lookup.js'
import { readBinding } from '../session/session.js'
import { verifyXsrfToken } from '../xsrf/token.js'

/** Milliseconds that a page with the form may stay open. */
const FORM_LIFETIME = 86_400_000

export async function logout(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const body = request.body as { readonly _csrf?: unknown; readonly return_url?: unknown } | null | undefined
  try {
    if (!isOurForm(client, request, body?._csrf ?? request.headers['x-csrf-token'])) throw new XsrfInvalidError()
    await requestState(client, request, reply).signOut()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answerError(client, request, reply, error)
  }
  reply.header('cache-control', 'no-store')
  if (!acceptsHtml(request.headers.accept)) return reply.code(204).send()
  // 303: the browser must not post again to wherever it goes next. RFC 9700 section 4.12.
  return reply.redirect(client.returnUrl(body?.return_url), 303)
}

function isOurForm(client: Client, request: FastifyRequest, token: unknown): boolean {
  const user = readBinding(request)
  const { keys, clock } = client.options
  if (user === undefined) return false
  return keys
    .macKeys('xsrf')
    .some((key) => verifyXsrfToken(key, token, { user, action: client.name, now: clock(), lifetime: FORM_LIFETIME }))
}
