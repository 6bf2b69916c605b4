/**
 * `POST /oauth2logout/backchannel`: the provider says that sessions there have ended. No browser is involved: what ends is known
 * by who signed in. OpenID Connect Back-Channel Logout 1.0 sections 2.5 to 2.8.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { LogoutTokenInvalidError } from '../errors.js'
import { type LogoutTokenClaims, verifyLogoutToken } from '../flows/verify-logout-token.js'
import { isClientError } from '../guards/challenge.js'
import { TOKEN_LIFETIME } from '../session/seen-tokens.js'

export async function backchannelLogout(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  try {
    await end(client, await claimsOf(client, request))
  } catch (error) {
    const known = isClientError(error)
    const log = { client: client.name, ...(known ? { code: error.code } : { err: error }) }
    request.log.warn(log, 'a logout of the provider had no effect')
    // Whatever the reason, also where it is ours: section 2.8.
    const { code, details, message } = known ? error : { code: undefined, details: {}, message: 'The logout failed.' }
    return reply
      .code(400)
      .send({ statusCode: 400, code, error: 'invalid_request', message, error_description: message, ...details })
  }
  return reply.code(200).send()
}

/** @throws {LogoutTokenInvalidError} {@link ProviderUnavailableError} */
async function claimsOf({ options }: Client, request: FastifyRequest): Promise<LogoutTokenClaims> {
  const form = /^application\/x-www-form-urlencoded(?:$|[;\s])/i.test(request.headers['content-type'] ?? '')
  const { logout_token: token } = (request.body ?? {}) as { readonly logout_token?: unknown }
  if (!form || typeof token !== 'string') throw new LogoutTokenInvalidError('malformed')
  const claims = await verifyLogoutToken(options.provider, token)
  if (claims.iat * 1000 < options.clock() - TOKEN_LIFETIME) throw new LogoutTokenInvalidError('expired')
  return claims
}

/**
 * Ending what has ended already changes nothing, so the token is written off last: whatever fails, and wherever a process dies,
 * the provider can send it again.
 */
async function end({ options, seenTokens, signIns }: Client, { jti, sub, sid }: LogoutTokenClaims): Promise<void> {
  const first = await seenTokens.once(jti, async () => {
    const users = await signIns.end({ sub, sid })
    await options.onLogout?.({ users, sub, sid })
  })
  if (!first) throw new LogoutTokenInvalidError('replayed')
}
