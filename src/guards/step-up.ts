/** What an API asks for that refused a call: another sign-in (RFC 9470), or more scopes (RFC 6750 section 3.1). */
import type { Client } from '../client.js'
import { isAllowedOrigin } from '../credentials/authorized-fetch.js'
import { challengeFrom } from '../credentials/challenge-from.js'
import { InsufficientScopeError, type OAuth2ClientError, StepUpRequiredError } from '../errors.js'
import { isRequired, readRequirements } from '../provider/authentication.js'

/**
 * An API's word counts for as much as an authorization request of this app could ask for, and no more.
 *
 * @param granted scopes that there are already
 * @returns what a guard answers with; `undefined` where nothing is asked for that a person could give
 */
export function stepUpFor(
  { options, declaredScopes }: Client,
  response: Response,
  granted: readonly string[],
): OAuth2ClientError | undefined {
  if (response.status !== 401 && response.status !== 403) return undefined
  // Where it was made by hand, it is the handler's word.
  if (response.url !== '' && !isAllowedOrigin(new URL(response.url), options.allowedOrigins)) return undefined
  const challenge = challengeFrom(response)
  if (challenge?.error === 'insufficient_user_authentication') {
    const required = readRequirements(challenge)
    return isRequired(required) ? new StepUpRequiredError(required) : undefined
  }
  if (challenge?.error !== 'insufficient_scope') return undefined
  const declared = challenge.scopes.filter((scope) => declaredScopes.has(scope))
  const missingScopes = options.provider.scopes.missing(granted, declared)
  if (missingScopes.length === 0) return undefined
  const error = new InsufficientScopeError()
  error.details = { missingScopes }
  return error
}
