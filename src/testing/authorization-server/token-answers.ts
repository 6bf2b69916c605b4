import type { KoaContextWithOIDC } from 'oidc-provider'
import type { TokenTweak } from './fault-types.js'

/** Rewrites successful token responses on their way out. */

export interface TokenAnswerParts {
  readonly path: string
  readonly tweak: () => TokenTweak
  /** Google answers a refresh without repeating the refresh token. */
  readonly repeatRefreshToken: boolean
}

export function tokenAnswers({ path, tweak, repeatRefreshToken }: TokenAnswerParts) {
  return async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next()
    if (ctx.path !== path || ctx.method !== 'POST' || ctx.status !== 200) return
    const { omitRefreshToken, omitIdToken, omitScope, expiresIn, set } = tweak()
    const body: Record<string, unknown> = { ...(ctx.body as Record<string, unknown>) }
    const refreshing = ctx.oidc.params?.grant_type === 'refresh_token'
    if (omitRefreshToken || (refreshing && !repeatRefreshToken)) delete body.refresh_token
    if (omitIdToken) delete body.id_token
    if (omitScope) delete body.scope
    if (expiresIn === null) delete body.expires_in
    else if (expiresIn !== undefined) body.expires_in = expiresIn
    ctx.body = { ...body, ...set }
  }
}
