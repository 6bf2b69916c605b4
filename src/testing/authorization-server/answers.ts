import type { KoaContextWithOIDC } from 'oidc-provider'
import type { TokenTweak } from './fault-types.js'
import type { Fault } from './faults.js'
import { ELSEWHERE, type Signer } from './signer.js'
import type { ServerTime } from './time.js'

/** Rewrites answers of `oidc-provider` on their way out. */

export interface AnswerParts {
  readonly tokenPath: string
  readonly tweak: () => TokenTweak
  /** The fault of the request that this is the answer to. */
  readonly faultOf: (response: KoaContextWithOIDC['res']) => Fault | undefined
  readonly signer: Signer
  readonly time: ServerTime
  /** Google answers a refresh without repeating the refresh token. */
  readonly repeatRefreshToken: boolean
}

type Members = Record<string, unknown>

export function rewriteAnswers(parts: AnswerParts) {
  const { tokenPath, faultOf, signer, time } = parts
  return async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next()
    const fault = faultOf(ctx.res)
    const location = ctx.response.get('location')
    if (ctx.path === '/auth' && fault === 'wrong_issuer' && URL.canParse(location)) {
      const url = new URL(location)
      url.searchParams.set('iss', ELSEWHERE)
      ctx.set('location', url.href)
    }
    if (ctx.status !== 200 || typeof ctx.body !== 'object' || ctx.body === null) return
    const body = ctx.body as Members
    if (ctx.path === '/jwks') ctx.body = { keys: [...(body.keys as object[]), ...signer.newKeys] }
    else if (ctx.path === `${tokenPath}/introspection`) ctx.body = time.told(body)
    else if (ctx.path.startsWith('/.well-known/') && fault === 'wrong_issuer') ctx.body = { ...body, issuer: ELSEWHERE }
    else if (ctx.path === tokenPath) ctx.body = await tokenAnswer(ctx, body, fault, parts)
  }
}

async function tokenAnswer(ctx: KoaContextWithOIDC, answer: Members, fault: Fault | undefined, parts: AnswerParts) {
  const { omitRefreshToken, omitIdToken, omitScope, expiresIn, set } = parts.tweak()
  const body = { ...answer }
  const refreshing = ctx.oidc.params?.grant_type === 'refresh_token'
  if (omitRefreshToken || fault === 'no_refresh_token' || (refreshing && !parts.repeatRefreshToken)) {
    delete body.refresh_token
  }
  if (omitIdToken) delete body.id_token
  else if (typeof body.id_token === 'string') body.id_token = await parts.signer.idToken(body.id_token, fault)
  if (omitScope) delete body.scope
  if (expiresIn === null) delete body.expires_in
  else if (expiresIn !== undefined) body.expires_in = expiresIn
  return { ...body, ...set }
}
