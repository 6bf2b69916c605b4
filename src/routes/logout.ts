/** `POST /oauth2logout`: ends this browser's link to the stored credentials. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { XsrfInvalidError } from '../errors.js'
import { answerError } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { acceptsHtml } from '../guards/navigation.js'
import { requestState } from '../lookup.js'
import { bodyOf, isOurForm } from './form.js'

export async function logout(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  try {
    if (!isOurForm(client, request, client.name)) throw new XsrfInvalidError()
    await requestState(client, request, reply).signOut()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answerError(client, request, reply, error)
  }
  reply.header('cache-control', 'no-store')
  if (!acceptsHtml(request.headers.accept)) return reply.code(204).send()
  // 303: the browser must not post again to wherever it goes next. RFC 9700 section 4.12.
  return reply.redirect(client.returnUrl(bodyOf(request).return_url), 303)
}
