/** What becomes of credentials that die after the guard has let somebody pass: the handler's error gets the guard's answer. */
import type { FastifyReply } from 'fastify'
import type { Client } from '../client.js'
import type { OAuth2ClientError } from '../errors.js'
import type { RequestOAuth2, Standing } from '../request.js'
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
 * The same for an error that is thrown before the handler, where it may not be the last word: another function may let the request
 * in, and then what a guard before this one wanted is what counts.
 *
 * @param standing what guards had left behind before this one
 * @returns the error to throw, which is nobody else's
 */
export function failBefore(
  oauth2: RequestOAuth2,
  needed: readonly string[],
  shared: OAuth2ClientError,
  standing: Standing,
): OAuth2ClientError {
  const error = ownCopy(shared)
  answerForHandler(oauth2, needed)
  lookFor(oauth2, error, (reply) => noteRefusal(oauth2.client, reply, error))
  oauth2.standing = standing
  return error
}

/** Tells whoever watches what became of a request that may not pass, once its answer is on its way. */
export function noteRefusal({ options }: Client, reply: FastifyReply, { code }: OAuth2ClientError): void {
  options.watch?.guard(reply.getHeader('location') === undefined ? 'refused' : 'redirected', code)
}

function answerFailure(this: RequestOAuth2, failure: unknown): void {
  this.onFailure = undefined
  lookFor(this, failure)
}

/**
 * No hook of Fastify can still redirect at that point; so after such a failure, and only then, we look at what is sent: first the
 * error on its way to the error handler, then whatever that one makes of it.
 */
function lookFor(oauth2: RequestOAuth2, failure: unknown, answered?: (reply: FastifyReply) => void): void {
  const { client, request, needed, standing } = oauth2
  const reply = oauth2.reply as FastifyReply
  const { send } = reply
  const challenged = async (error: OAuth2ClientError) => {
    // By now another guard may have wanted something else.
    oauth2.standing = standing
    await challenge(client, request, reply, error, oauth2, needed)
    answered?.(reply)
  }
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
