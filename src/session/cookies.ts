/** Our own cookies. They carry what must not depend on a session that two requests may write at the same time. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { SessionRequiredError } from '../errors.js'

interface CookieReply {
  setCookie(name: string, value: string, options: object): unknown
}

/** Sets and reads cookies that only come back to this origin, only over HTTP, also when a provider sends people back. */
export class CookieJar {
  readonly prefix: string
  readonly #options: object

  /**
   * @param secure whether people come over HTTPS: then nobody else's subdomain can set a cookie of that name
   * @param crossSite whether they come along with forms of other sites too, which takes HTTPS, or this very machine
   */
  constructor(secure: boolean, crossSite = false) {
    this.prefix = secure ? '__Host-oauth2client.' : 'oauth2client.'
    this.#options = crossSite
      ? { path: '/', httpOnly: true, sameSite: 'none', secure: true }
      : { path: '/', httpOnly: true, sameSite: 'lax', secure }
  }

  get(request: FastifyRequest, name: string): string | undefined {
    return this.all(request)[this.prefix + name]
  }

  /** Every cookie of the request, by its full name. */
  all(request: FastifyRequest): Record<string, string | undefined> {
    return (request as { cookies?: Record<string, string | undefined> | null }).cookies ?? {}
  }

  /** @param maxAge seconds */
  set(reply: FastifyReply, name: string, value: string, maxAge: number): void {
    const { setCookie } = reply as unknown as Partial<CookieReply>
    if (!setCookie) throw new SessionRequiredError('register @fastify/cookie before fastify-oauth2client.')
    setCookie.call(reply, this.prefix + name, value, { ...this.#options, maxAge })
  }

  clear(reply: FastifyReply, name: string): void {
    this.set(reply, name, '', 0)
  }
}
