/** What a request gets that may not pass: a redirect where a person can follow it, and an explanation everywhere else. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import {
  AccessDeniedError,
  AccountMismatchError,
  AuthorizationFailedError,
  AuthorizationLoopError,
  CredentialsRequiredError,
  ExchangeFailedError,
  InsufficientScopeError,
  NoRefreshTokenError,
  type OAuth2ClientError,
  ProviderUnavailableError,
  ScopeDeclinedError,
  SignedOutError,
  StepUpFailedError,
  StepUpRequiredError,
  UserRequiredError,
} from '../errors.js'
import { publish } from '../events.js'
import { joinRequirements, type SignInRequirements } from '../provider/authentication.js'
import type { RequestOAuth2 } from '../request.js'
import { rememberCause } from '../session/cause.js'
import { isRepeated } from '../session/outcome-cookie.js'
import { startFlow } from '../session/start-flow.js'
import { answerError } from './answer.js'
import { isFormNavigation, isNavigation, varyByNavigation } from './navigation.js'
import { type ResumableForm, resumableForm } from './resume.js'

/**
 * Answers for an error that a guard, or the use of credentials behind it, ended with.
 *
 * @param resume whether a form may be kept for its person, who is then sent to the provider as for a page
 */
export async function challenge(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  error: OAuth2ClientError,
  oauth2: RequestOAuth2,
  ofGuard: readonly string[],
  resume = false,
): Promise<FastifyReply> {
  publish('guard-refused', () => ({
    client: client.name,
    user: oauth2.user,
    code: error.code,
    route: request.routeOptions.url,
  }))
  const person = isNavigation(request)
  // On the authorize route, which nobody wants to come back to, it is where that one was to lead.
  const { return_url: beyond } = (request.query ?? {}) as { readonly return_url?: unknown }
  const here = client.returnUrl(client.publicPrefix + request.originalUrl, beyond)
  if (error instanceof UserRequiredError && person && client.options.loginPath) {
    // Whoever signs in to the app now, in a form of its own, is still where another site sent them.
    rememberCause(client, request, reply)
    reply.header('cache-control', 'no-store')
    varyByNavigation(reply)
    const separator = client.options.loginPath.includes('?') ? '&' : '?'
    return reply.redirect(`${client.options.loginPath}${separator}${new URLSearchParams({ return_url: here })}`, 302)
  }
  const more = error instanceof InsufficientScopeError || error instanceof StepUpRequiredError
  if (!more && !(error instanceof CredentialsRequiredError)) return answerError(client, request, reply, error)
  const account = oauth2.current
  const granted = account?.tokens.scopes ?? []
  const { scopes } = client.options.provider
  // An API that the handler called may need more than its guard.
  const needed = scopes.union(ofGuard, (error.details?.missingScopes ?? []) as string[])
  const missing = scopes.missing(granted, needed)
  const required = joinRequirements(oauth2.required, error instanceof StepUpRequiredError ? error : {})
  const stepUp = error instanceof StepUpRequiredError
  const details = stepUp ? required : error instanceof InsufficientScopeError ? { missingScopes: missing } : {}
  const named = oauth2.selected === undefined ? {} : { account: oauth2.selected }
  const ask = async (returnUrl?: string) => oauth2.authorizeUrl(returnUrl, { scopes: needed, ...required, ...named })
  const form = resume ? resumableForm(client, request) : undefined
  const navigates = (person && request.method === 'GET') || form !== undefined
  // A program that follows every `authorizeUrl` is told too when that is of no use.
  if (navigates || stepUp) {
    const stop = await reasonToStop(client, request, oauth2, error, needed, missing, required)
    if (stop) {
      stop.details = stepUp
        ? { ...required, ...(navigates ? {} : { authorizeUrl: await ask() }) }
        : { missingScopes: missing }
      if (navigates) rememberCause(client, request, reply)
      return answerError(
        client,
        request,
        reply,
        stop,
        { href: await ask(here), text: 'Ask again' },
        person || navigates,
      )
    }
  }
  if (navigates) {
    varyByNavigation(reply)
    try {
      const held = form && (await hold(client, request, form, oauth2.user))
      if (!form || held)
        return await startFlow(client, request, reply, {
          // Where nobody is signed in, it says who somebody is, also where that is somebody in particular.
          intent: more || (oauth2.selected !== undefined && oauth2.user !== undefined) ? 'grant' : 'sign-in',
          needed,
          granted,
          returnUrl: here,
          form: held,
          user: client.options.userKey ? oauth2.user : undefined,
          identity: oauth2.selected ?? (more && account?.identified ? account.id : undefined),
          loginHint: account?.email,
          required,
        })
    } catch (failure) {
      if (!isClientError(failure)) throw failure
      rememberCause(client, request, reply)
      return answerError(client, request, reply, failure, { href: await ask(here), text: 'Try again' }, true)
    }
  }
  const own = ownError(error, required)
  own.headers = { 'www-authenticate': authenticate(error, needed, required) }
  own.details = {
    ...details,
    authorizeUrl: await ask(),
    ...(resume && !isFormNavigation(request) ? { retry: 'after-authorization' } : {}),
  }
  return answerError(client, request, reply, own, { href: await ask(here), text: 'Continue' })
}

/** @returns what the form is called, or `undefined` where too many are kept: the person can still go back to it */
async function hold(
  client: Client,
  request: FastifyRequest,
  form: ResumableForm,
  user: string | undefined,
): Promise<string | undefined> {
  const id = await client.heldForms.hold(request, { ...form, ...(user === undefined ? {} : { postedBy: user }) })
  if (id === undefined) request.log.warn({ client: client.name }, 'a form was not kept: too many of them are')
  return id
}

function ownError(error: OAuth2ClientError, required: SignInRequirements): OAuth2ClientError {
  if (error instanceof StepUpRequiredError) return new StepUpRequiredError(required)
  return error instanceof InsufficientScopeError
    ? new InsufficientScopeError()
    : new CredentialsRequiredError({ cause: error })
}

/** RFC 6750 section 3, RFC 9470 section 3. Scopes and classes were looked at: they hold nothing that a header could not. */
function authenticate(
  error: OAuth2ClientError,
  needed: readonly string[],
  { acrValues, maxAge }: SignInRequirements,
): string {
  if (error instanceof StepUpRequiredError) {
    const classes = acrValues ? `, acr_values="${acrValues.join(' ')}"` : ''
    const age = maxAge === undefined ? '' : `, max_age="${maxAge}"`
    return `Bearer error="insufficient_user_authentication"${classes}${age}`
  }
  return error instanceof InsufficientScopeError
    ? `Bearer error="insufficient_scope", scope="${needed.join(' ')}"`
    : 'Bearer'
}

/** Why asking again by itself would only send the person round in a circle. */
async function reasonToStop(
  client: Client,
  request: FastifyRequest,
  oauth2: RequestOAuth2,
  error: OAuth2ClientError,
  needed: readonly string[],
  missing: readonly string[],
  required: SignInRequirements,
): Promise<OAuth2ClientError | undefined> {
  const { scopes } = client.options.provider
  const declined = oauth2.current?.declined ?? []
  if (error instanceof InsufficientScopeError && missing.some((scope) => scopes.covers(declined, [scope]))) {
    return new ScopeDeclinedError()
  }
  const outcome = await client.outcome.read(request)
  const stepUp = error instanceof StepUpRequiredError
  // Of a step-up it is the API that says whether it had an effect; of everything else the guard did.
  if (outcome && (stepUp ? !isRepeated(outcome, required) : outcome.seen)) return undefined
  const wanted = missing.length > 0 ? missing : needed
  if (!outcome || !(stepUp || scopes.covers(outcome.scopes ?? wanted, wanted))) return undefined
  // A sign-in keeps stored credentials that grant more than it brought. Those may turn out to be dead only afterwards, or
  // to lack what it was made for: tokens from before the flow say nothing about what it had to offer. The next flow
  // replaces them.
  const { obtainedAt = outcome.endedAt } = oauth2.current?.tokens ?? {}
  if (!stepUp && !outcome.code && obtainedAt < outcome.endedAt - FLOW_MS) return undefined
  const Cause = ENDINGS.find((Ending) => new Ending().code === outcome.code)
  if (Cause) return new Cause()
  return stepUp ? new StepUpFailedError() : new AuthorizationLoopError()
}

/** Milliseconds within which the tokens of a flow are stored. */
const FLOW_MS = 5_000

/** What a flow can have ended with. */
const ENDINGS = [
  AccessDeniedError,
  AccountMismatchError,
  AuthorizationFailedError,
  ExchangeFailedError,
  NoRefreshTokenError,
  ProviderUnavailableError,
  SignedOutError,
  StepUpFailedError,
]

export function isClientError(error: unknown): error is OAuth2ClientError {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('FST_OAUTH2_')
}
