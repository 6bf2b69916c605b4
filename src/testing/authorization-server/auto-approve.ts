import type { errors, KoaContextWithOIDC } from 'oidc-provider'
import { acrFor } from './acr.js'
import type { ConsentDesk } from './consent.js'
import type { AutoApprove } from './options.js'
import { userOfName } from './users.js'

/**
 * Signs in and consents while the authorization request is being checked, so that its very answer is the redirect back
 * to the application: no pages, and no cookies to carry from one to the next.
 */
export async function autoApproveRequest(
  ctx: KoaContextWithOIDC,
  { user, decline = [], refuse = false }: AutoApprove,
  desk: ConsentDesk,
  AccessDenied: typeof errors.AccessDenied,
  acrValues: readonly string[],
): Promise<void> {
  const { oidc } = ctx
  const { session, client, prompts } = oidc
  if (session === undefined || client === undefined) return
  const silent = prompts.has('none')
  if (refuse && !silent) throw new AccessDenied('the person refused')

  const accountId = userOfName(user).sub
  const acr = acrFor(oidc.params?.acr_values, acrValues)
  const login = { accountId, ...(acr === undefined ? {} : { acr }) }
  if (session.accountId !== accountId) {
    // What the session knows of other clients belongs to whoever was signed in before.
    session.authorizations = undefined
    session.loginAccount(login)
  } else if (!silent) {
    session.loginAccount(login)
  }
  if (silent) return

  const question = await desk.question({
    clientId: client.clientId,
    accountId,
    sessionGrantId: session.grantIdFor(client.clientId),
    scopes: [...oidc.requestParamOIDCScopes],
    again: prompts.has('consent'),
  })
  const result: Record<string, unknown> = { login }
  if (question.asked.length > 0 || question.again) {
    const consent = await desk.answer(question, (scope) => !decline.includes(scope))
    if (consent === undefined) throw new AccessDenied('the person unticked everything')
    result.consent = consent
  }
  // As if the pages had been answered: what they were to ask is settled.
  Object.assign(oidc, { result, promptPending: () => false })
}
