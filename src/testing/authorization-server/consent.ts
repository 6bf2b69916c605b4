import type { Grant, Provider } from 'oidc-provider'
import { type ScopeBook, splitScopes } from './scopes.js'
import type { ServerStorage } from './storage.js'

/** What a person is asked and what becomes of the answer, be it given on the consent page or by `autoApprove`. */

export interface ConsentRequest {
  readonly clientId: string
  readonly accountId: string
  /** The grant that the browser's session knows. */
  readonly sessionGrantId: string | undefined
  readonly scopes: readonly string[]
  /** Whether the application wants the page even if there is nothing new (`prompt=consent`). */
  readonly again: boolean
}

export interface ConsentQuestion extends ConsentRequest {
  readonly grant: Grant | undefined
  /** Requested scopes that were granted before. */
  readonly granted: readonly string[]
  /** Requested scopes to decide about. */
  readonly asked: readonly string[]
}

/** What `oidc-provider` is told as the result of a consent. */
export interface ConsentResult {
  readonly grantId: string
  /** Whether it is the user's first consent for this client. */
  readonly first: boolean
  readonly [key: string]: unknown
}

export interface ConsentDesk {
  question(request: ConsentRequest): Promise<ConsentQuestion>
  /** Notes the answer; `undefined` when nothing at all was granted. */
  answer(question: ConsentQuestion, accepts: (scope: string) => boolean): Promise<ConsentResult | undefined>
}

export interface ConsentDeskParts {
  readonly provider: Provider
  readonly storage: ServerStorage
  readonly scopes: ScopeBook
  readonly googleHabits: boolean
}

export function consentDesk({ provider, storage, scopes, googleHabits }: ConsentDeskParts): ConsentDesk {
  return {
    async question(request) {
      const { clientId, accountId, sessionGrantId } = request
      const grantId = googleHabits ? storage.grantId(clientId, accountId) : sessionGrantId
      const grant = grantId === undefined ? undefined : await provider.Grant.find(grantId)
      const settled = new Set(splitScopes(googleHabits ? grant?.getOIDCScope() : grant?.getOIDCScopeEncountered()))
      // A refusal is remembered without Google's habits, so that asking again has to bring back everything.
      const open = request.again && !googleHabits
      const asked = request.scopes.filter((scope) => open || !settled.has(scope))
      return { ...request, grant, asked, granted: request.scopes.filter((scope) => !asked.includes(scope)) }
    },

    async answer({ clientId, accountId, grant: existing, asked }, accepts) {
      const accepted = asked.filter((scope) => !scopes.declinable(scope) || accepts(scope))
      if (existing === undefined && accepted.length === 0) return undefined
      const grant = existing ?? new provider.Grant({ clientId, accountId })
      if (accepted.length > 0) grant.addOIDCScope([...accepted])
      if (!googleHabits) {
        const declined = asked.filter((scope) => !accepted.includes(scope))
        const before = splitScopes(grant.getRejectedOIDCScope()).filter((scope) => !accepted.includes(scope))
        const rejected = [...new Set([...before, ...declined])].join(' ')
        if (grant.rejected) grant.rejected.openid = rejected === '' ? undefined : { scope: rejected }
      }
      return { grantId: await grant.save(), first: existing === undefined }
    },
  }
}
