/**
 * Whether a flow was the wish of whoever sits in front of the browser, or another site's. Somebody who is lured into a flow
 * while the browser is signed in to a stranger's account at the provider would connect that account to their own user.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'

/** Seconds for which a sign-in to the app, or a page that offers another try, may take. */
const LIFETIME = 3_600

/**
 * Whether anything but a page of ours, or the person, caused this request: directly, or by sending somebody to a page that
 * leads here.
 *
 * `none` is an address that was typed or pasted, a bookmark, or a link in a program that is no browser: no page can cause
 * that. `same-site` is another host of the domain, which may be anybody's. Browsers that send no such header (those of before
 * 2023, and all of them over plain HTTP) send a referrer, and where that says nothing either, nothing proves that it was us.
 * Programs send none of it, and no page can lead them anywhere: it takes a browser, and each of those says "Mozilla".
 */
export function causedElsewhere(client: Client, request: FastifyRequest): boolean {
  if (client.cookies.get(request, nameOf(client)) !== undefined) return true
  const site = request.headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const { referer, 'user-agent': agent = '' } = request.headers
  if (referer === undefined) return agent.startsWith('Mozilla/')
  try {
    return new URL(referer).origin !== new URL(client.redirectUri(request)).origin
  } catch {
    return true
  }
}

/** Whether a page of ours sent this request. That takes a word of the browser's: here, nothing to go by means no. */
export function sentByOurPage(client: Client, request: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = request.headers
  if (site !== undefined) return site === 'same-origin'
  return origin !== undefined && origin === new URL(client.redirectUri(request)).origin
}

/**
 * Has the flow that may follow from this answer count as caused elsewhere, if this request was: the page that the person
 * gets, such as that of the app's own sign-in, leads on from one of ours.
 *
 * @param elsewhere where that is known already
 */
export function rememberCause(client: Client, request: FastifyRequest, reply: FastifyReply, elsewhere?: boolean): void {
  if (!client.options.userKey || !(elsewhere ?? causedElsewhere(client, request))) return
  client.cookies.set(reply, nameOf(client), '1', LIFETIME)
}

/** Once a flow has taken it over. */
export function forgetCause(client: Client, request: FastifyRequest, reply: FastifyReply): void {
  if (client.cookies.get(request, nameOf(client)) !== undefined) client.cookies.clear(reply, nameOf(client))
}

function nameOf(client: Client): string {
  return `elsewhere.${client.id}`
}
