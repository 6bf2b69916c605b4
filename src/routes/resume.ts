/**
 * `GET /oauth2callback/resume`: a form that its person posted before they were sent to the provider. It is shown, and posted again
 * by their click, so that it passes everything that a form of the app has to pass.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { FormGoneError } from '../errors.js'
import { answerError } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { PAGE_HEADERS, pagePolicy, renderPage, type Way } from '../guards/page.js'
import { requestState } from '../lookup.js'

export async function resume(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  try {
    const { form: name } = request.query as { readonly form?: unknown }
    const id = String(name)
    // As a guard would see it: a link that ended shows nothing.
    const { user } = await requestState(client, request, reply).load()
    const form = user === undefined ? undefined : await client.heldForms.find(request, id, user)
    if (!form) throw new FormGoneError()
    client.heldForms.shown(request, reply, id)
    const { fields, path } = form
    const ways: Way[] = [
      { href: path, text: 'Send it', fields },
      { href: `${client.publicPrefix}/`, text: 'Do not send it' },
    ]
    return reply.headers({ ...PAGE_HEADERS, ...POSTED, 'content-security-policy': pagePolicy(ways) }).send(
      renderPage({
        title: 'Send this form now?',
        message: 'It was not sent yet, because you had to give your permission first. This is what will be sent:',
        fields,
        ways,
      }),
    )
  } catch (error) {
    if (!isClientError(error)) throw error
    return answerError(client, request, reply, error)
  }
}

/** A page without a referrer posts its form with the origin `null`, which the app would take for another site's. */
const POSTED = { 'referrer-policy': 'same-origin' }
