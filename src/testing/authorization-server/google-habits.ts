import type { AuthorizationCode, Grant, interactionPolicy, KoaContextWithOIDC, Provider } from 'oidc-provider'
import type { ConsentResult } from './consent.js'
import { splitScopes } from './scopes.js'
import type { ServerStorage } from './storage.js'

/** Where Google differs from what an authorization server does by default. */

const MAX_REMEMBERED_CODES = 1000

/** The grant belongs to the user, not to the browser; with `include_granted_scopes` the request covers all of it. */
export async function grantOfUser(ctx: KoaContextWithOIDC, storage: ServerStorage): Promise<Grant | undefined> {
  const { provider, client, account, params } = ctx.oidc
  if (client === undefined || account === undefined || params === undefined) return undefined
  const id = storage.grantId(client.clientId, account.accountId)
  const grant = id === undefined ? undefined : await provider.Grant.find(id)
  if (grant !== undefined && params.include_granted_scopes === 'true') {
    params.scope = splitScopes(`${params.scope ?? ''} ${grant.getOIDCScope()}`).join(' ')
  }
  return grant
}

/** Unticked scopes are asked again by the next request, but not a second time by the same one. */
export function consentCheck(Check: typeof interactionPolicy.Check): interactionPolicy.Check {
  const missing = ({ oidc }: KoaContextWithOIDC) => {
    const granted = new Set(splitScopes(oidc.grant?.getOIDCScope()))
    return [...oidc.requestParamOIDCScopes].filter((scope) => !granted.has(scope))
  }
  return new Check(
    'op_scopes_missing',
    'requested scopes not granted',
    'consent_required',
    (ctx) => missing(ctx).length > 0 && ctx.oidc.result?.consent === undefined,
    (ctx) => ({ missingOIDCScope: missing(ctx) }),
  )
}

/** Decides which codes are worth a refresh token, and lets refresh tokens follow what is granted later. */
export class RefreshTokenHabits {
  // The code that is exchanged says nothing about the request it came from.
  readonly #offlineCodes = new Set<string>()

  watch(provider: Provider, storage: ServerStorage): void {
    provider.on('authorization.success', (ctx: KoaContextWithOIDC) => {
      const { params, prompts, result, entities } = ctx.oidc
      const code = entities.AuthorizationCode
      if (code === undefined || params === undefined) return
      const consent = result?.consent as ConsentResult | undefined
      if (params.access_type === 'offline' && (consent?.first === true || prompts.has('consent'))) {
        this.#offlineCodes.add(code.jti)
        const oldest = this.#offlineCodes.values().next()
        if (this.#offlineCodes.size > MAX_REMEMBERED_CODES && !oldest.done) this.#offlineCodes.delete(oldest.value)
      }
      if (params.include_granted_scopes === 'true' && code.grantId !== undefined) {
        storage.widenRefreshTokens(code.grantId, code.scope ?? '')
      }
    })
  }

  earnsRefreshToken(code: Pick<AuthorizationCode, 'jti'>): boolean {
    return this.#offlineCodes.delete(code.jti)
  }
}
