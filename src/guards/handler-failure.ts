/** What becomes of credentials that die after the guard has let somebody pass: the handler's error gets the guard's answer. */
import type { FastifyReply } from 'fastify'
import type { OAuth2ClientError } from '../errors.js'
import type { RequestOAuth2 } from '../request.js'
import { ownCopy } from './answer.js'
import { challenge, isClientError } from './challenge.js'

/**
 * When credentials die while the handler uses them, the error gets the answer that the guard would have given, unless the
 * app's error handler gives one of its own. One function for all requests: with a closure for each, V8 copied every request from
 * one collection to the next.
 */
export function answerForHandler(oauth2: RequestOAuth2, needed: readonly string[]): void {
  oauth2.needed = needed
  oauth2.onFailure = answerFailure
}

/**
 * The same for an error that is thrown before the handler, where it may not be the last word: another function may let the request in.
 *
 * @returns the error to throw, which is nobody else's
 */
export function failBefore(
  oauth2: RequestOAuth2,
  needed: readonly string[],
  shared: OAuth2ClientError,
): OAuth2ClientError {
  const error = ownCopy(shared)
  answerForHandler(oauth2, needed)
  oauth2.onFailure?.(error)
  return error
}

/**
 * No hook of Fastify can still redirect at that point; so after such a failure, and only then, we look at what is sent: first the
 * error on its way to the error handler, then whatever that one makes of it.
 */
function answerFailure(this: RequestOAuth2, failure: unknown): void {
  this.onFailure = undefined
  const { client, request, needed } = this
  const reply = this.reply as FastifyReply
  const { send } = reply
  const challenged = (error: OAuth2ClientError) => challenge(client, request, reply, error, this, needed)
  let handled = false
  const looking = function (this: FastifyReply, ...args: [payload?: unknown]) {
    if (args[0] === failure && !handled) {
      handled = true
      return send.apply(reply, args)
    }
    // Somebody else may be looking too, for a failure of theirs.
    if (reply.send === looking) reply.send = send
    if (args[0] !== failure || !isClientError(failure)) return send.apply(reply, args)
    // An async error handler that returns nothing makes Fastify send that nothing while we are not done yet.
    reply.send = ((...late: [payload?: unknown]) =>
      late.length > 0 && late[0] === undefined ? reply : send.apply(reply, late)) as typeof send
    challenged(failure).catch((error: unknown) => send.call(reply, error))
    return reply
  } as typeof send
  reply.send = looking
}
