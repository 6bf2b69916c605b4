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
  UserRequiredError,
} from '../errors.js'
import { publish } from '../events.js'
import type { RequestOAuth2 } from '../request.js'
import { rememberCause } from '../session/cause.js'
import { startFlow } from '../session/start-flow.js'
import { answerError } from './answer.js'
import { isNavigation, varyByNavigation } from './navigation.js'

/** Answers for an error that a guard, or the use of credentials behind it, ended with. */
export async function challenge(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  error: OAuth2ClientError,
  oauth2: RequestOAuth2,
  needed: readonly string[],
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
  const askable = error instanceof CredentialsRequiredError || error instanceof InsufficientScopeError
  if (!askable) return answerError(client, request, reply, error)
  const account = oauth2.current
  const granted = account?.tokens.scopes ?? []
  const { scopes } = client.options.provider
  const missing = scopes.missing(granted, needed)
  const named = oauth2.selected === undefined ? {} : { account: oauth2.selected }
  const ask = async (returnUrl?: string) => oauth2.authorizeUrl(returnUrl, { scopes: needed, ...named })
  if (person && request.method === 'GET') {
    const stop = await reasonToStop(client, request, oauth2, error, needed, missing)
    if (stop) {
      stop.details = { missingScopes: missing }
      rememberCause(client, request, reply)
      return answerError(client, request, reply, stop, { href: await ask(here), text: 'Ask again' })
    }
    varyByNavigation(reply)
    const grant = error instanceof InsufficientScopeError
    try {
      return await startFlow(client, request, reply, {
        intent: grant || oauth2.selected !== undefined ? 'grant' : 'sign-in',
        needed,
        granted,
        returnUrl: here,
        user: client.options.userKey ? oauth2.user : undefined,
        identity: oauth2.selected ?? (grant && account?.identified ? account.id : undefined),
        loginHint: account?.email,
      })
    } catch (failure) {
      if (!isClientError(failure)) throw failure
      rememberCause(client, request, reply)
      return answerError(client, request, reply, failure, { href: await ask(here), text: 'Try again' })
    }
  }
  const own =
    error instanceof InsufficientScopeError
      ? new InsufficientScopeError()
      : new CredentialsRequiredError({ cause: error })
  own.headers = { 'www-authenticate': authenticate(error, needed) }
  own.details = {
    ...(error instanceof InsufficientScopeError ? { missingScopes: missing } : {}),
    authorizeUrl: await ask(),
  }
  return answerError(client, request, reply, own, { href: await ask(here), text: 'Continue' })
}

/** RFC 6750 section 3. The scopes are those of our own routes, which hold nothing that a header could not. */
function authenticate(error: OAuth2ClientError, needed: readonly string[]): string {
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
): Promise<OAuth2ClientError | undefined> {
  const { scopes } = client.options.provider
  const declined = oauth2.current?.declined ?? []
  if (error instanceof InsufficientScopeError && missing.some((scope) => scopes.covers(declined, [scope]))) {
    return new ScopeDeclinedError()
  }
  const outcome = await client.outcome.read(request)
  const wanted = missing.length > 0 ? missing : needed
  if (!outcome || !scopes.covers(outcome.scopes ?? wanted, wanted)) return undefined
  // A sign-in keeps stored credentials that grant more than it brought. If those turn out to be dead only afterwards, the
  // next sign-in replaces them: tokens from before the flow say nothing about what it had to offer.
  const { obtainedAt = outcome.endedAt } = oauth2.current?.tokens ?? {}
  if (error instanceof CredentialsRequiredError && !outcome.code && obtainedAt < outcome.endedAt - FLOW_MS)
    return undefined
  const Cause = ENDINGS.find((Ending) => new Ending().code === outcome.code)
  return Cause ? new Cause() : new AuthorizationLoopError()
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
]

export function isClientError(error: unknown): error is OAuth2ClientError {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('FST_OAUTH2_')
}
