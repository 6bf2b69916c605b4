/**
 * `POST /oauth2logout`: ends this browser's link to the stored credentials and, where the app wants it, the person's session at
 * the provider. OpenID Connect RP-Initiated Logout 1.0.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { LogoutStateInvalidError, XsrfInvalidError } from '../errors.js'
import { endSessionUrl } from '../flows/end-session.js'
import { answerError } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { acceptsHtml } from '../guards/navigation.js'
import { requestState } from '../lookup.js'
import { bodyOf, isOurForm } from './form.js'

export async function logout(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const returnUrl = client.returnUrl(bodyOf(request).return_url)
  let provider: string | undefined
  try {
    if (!isOurForm(client, request, client.name)) throw new XsrfInvalidError()
    if (client.options.providerLogout) provider = await leaveProvider(client, request, reply, returnUrl)
    await requestState(client, request, reply).signOut()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answerError(client, request, reply, error)
  }
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  // 303: the browser must not post again to wherever it goes next. RFC 9700 section 4.12.
  if (acceptsHtml(request.headers.accept)) return reply.redirect(provider ?? returnUrl, 303)
  return provider === undefined ? reply.code(204).send() : reply.send({ endSessionUrl: provider })
}

/** Where the person goes to end their session at the provider. A provider that is down keeps nobody from signing out here. */
async function leaveProvider(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  returnUrl: string,
): Promise<string | undefined> {
  const state = randomBytes(16).toString('base64url')
  const postLogoutRedirectUri = client.postLogoutRedirectUri(request)
  try {
    const options = { postLogoutRedirectUri, state }
    // A program would get the ID token to read, which nobody here has use for: its person is asked by the provider instead.
    const url = acceptsHtml(request.headers.accept)
      ? await requestState(client, request, reply).endSessionUrl(options)
      : await endSessionUrl(client.options.provider, options)
    if (url !== undefined) await client.logoutCookie.save(reply, state, returnUrl)
    return url
  } catch (error) {
    if (!isClientError(error)) throw error
    request.log.warn({ code: error.code, client: client.name }, 'signed out here, and not at the provider')
    return undefined
  }
}

/** `GET /oauth2logout`: back from the provider. Nothing is changed by it, so whoever sends a browser here achieves nothing. */
export async function loggedOut(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  const { state } = request.query as { readonly state?: unknown }
  const returnUrl = await client.logoutCookie.take(request, reply, state)
  if (returnUrl !== undefined) return reply.redirect(client.returnUrl(returnUrl), 303)
  const front = { href: client.returnUrl(), text: 'Go to the front page' }
  return answerError(client, request, reply, new LogoutStateInvalidError(), front)
}
