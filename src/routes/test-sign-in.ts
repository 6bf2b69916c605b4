/** A sign-in without a provider, for tests of apps: it ends as a flow does. */
import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { UserRequiredError } from '../errors.js'
import { requestState } from '../lookup.js'
import { hashState } from '../session/flow-cookie.js'
import { makeLink } from '../session/link.js'
import { appData, checkSessionCookie, ensureBinding } from '../session/session.js'
import type { TestSignIn } from '../session/test-sign-ins.js'
import { connectAccount } from './connect.js'

export async function testSignIn(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  { account, another, done }: TestSignIn,
): Promise<FastifyReply> {
  const { clock, onAuthorized, resolveUser, userKey } = client.options
  checkSessionCookie(request)
  const before = appData(request)
  const user = userKey ? await client.userFor(request) : undefined
  if (userKey && user === undefined && !resolveUser) throw new UserRequiredError()
  const flow = {
    intent: another ? ('grant' as const) : ('sign-in' as const),
    needed: account.tokens.scopes,
    binding: ensureBinding(request, clock()),
    reconsented: true,
    another,
    ...(user === undefined ? {} : { user }),
  }
  const { completion, authorized } = await connectAccount(client, request, flow, account)
  const { linkId, ...link } = completion
  const returnUrl = client.returnUrl('/')
  const hash = hashState(randomBytes(16).toString('base64url'))
  await makeLink(client, request, { ...link, id: linkId, done: [hash, returnUrl] }, before)
  requestState(client, request, reply).forget()
  await onAuthorized?.(request, { ...authorized, user: link.user, returnUrl })
  done(link.user)
  return reply.code(204).send()
}
