/** Turns an error into a response: the app's own, a small page for people, or JSON of Fastify's shape for programs. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { OAuth2ClientError } from '../errors.js'
import { isNavigation, varyByNavigation } from './navigation.js'
import { PAGE_HEADERS, pagePolicy, renderPage, type Way } from './page.js'

export type { Way }

/**
 * Answers a request with an error, unless the app's `onError` does. Always resolves to the reply.
 *
 * @param way where a person can go on; the first one is the way forward
 * @param person whether it is one that asks. Default: when it is a navigation
 */
export async function answerError(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  shared: OAuth2ClientError,
  way: Way | readonly Way[] = [],
  person = isNavigation(request),
): Promise<FastifyReply> {
  const error = ownCopy(shared)
  if (error.statusCode >= 500) request.log.error({ err: error, client: client.name }, error.message)
  else request.log.info({ code: error.code, client: client.name }, error.message)
  reply.header('cache-control', 'no-store')
  varyByNavigation(reply)
  if (error.headers) reply.headers(error.headers)
  const ways = [way].flat()
  const [link] = ways.filter(({ fields }) => !fields)
  // An app that answers in its own layout needs the way on too.
  if (person && link) error.details = { ...error.details, authorizeUrl: link.href }
  if (client.options.onError && (await answeredByApp(client, request, reply, error))) return reply
  reply.code(error.statusCode)
  // Fastify has loaded it by now. An import of this package need not.
  const { STATUS_CODES } = process.getBuiltinModule('node:http')
  const reason = STATUS_CODES[error.statusCode] ?? 'Error'
  if (person) {
    return reply.headers({ ...PAGE_HEADERS, 'content-security-policy': pagePolicy(ways) }).send(
      renderPage({
        title: TITLES[error.code] ?? 'This did not work',
        message: error.message,
        items: itemsOf(error),
        ways,
        code: error.code,
      }),
    )
  }
  return reply
    .type('application/json; charset=utf-8')
    .send({ statusCode: error.statusCode, code: error.code, error: reason, message: error.message, ...error.details })
}

/** What the page lists. */
function itemsOf({ details = {} }: OAuth2ClientError): string[] {
  if (Array.isArray(details.missingScopes)) return details.missingScopes
  if (typeof details.account !== 'object' || details.account === null) return []
  const { id, email } = details.account as { readonly id: string | null; readonly email: string | null }
  const account = email ?? id ?? 'not named by the provider'
  return [`Account: ${account}`, `At: ${details.provider}`, `To be connected to: ${details.application}`]
}

/** Everybody who waits for one refresh gets one error: what is added for one of them must not be seen by the others. */
export function ownCopy(error: OAuth2ClientError): OAuth2ClientError {
  return Object.create(Object.getPrototypeOf(error), Object.getOwnPropertyDescriptors(error))
}

/** Whether the app answered; it may have done so without handing the reply back. */
async function answeredByApp(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  error: OAuth2ClientError,
): Promise<boolean> {
  const { send } = reply
  let sent = false
  // `reply.sent` only turns true when the response has ended, which a slow session store delays.
  reply.send = function (this: FastifyReply, ...args: Parameters<typeof send>) {
    sent = true
    return send.apply(this, args)
  } as typeof send
  try {
    const result = await client.options.onError?.(error, request, reply)
    if (sent || result === reply || reply.sent) return true
    if (result === undefined) return false
    reply.send(result)
    return true
  } finally {
    reply.send = send
  }
}

const TITLES: Readonly<Record<string, string>> = {
  FST_OAUTH2_ACCESS_DENIED: 'Access was not granted',
  FST_OAUTH2_ACCOUNT_MISMATCH: 'That was another account',
  FST_OAUTH2_AUTHORIZATION_LOOP: 'Signing in had no effect',
  FST_OAUTH2_CONFIRMATION_REQUIRED: 'Connect this account?',
  FST_OAUTH2_CREDENTIALS_REQUIRED: 'Authorization is required',
  FST_OAUTH2_FORM_GONE: 'This form is not kept any more',
  FST_OAUTH2_INSUFFICIENT_SCOPE: 'More permissions are needed',
  FST_OAUTH2_LOGOUT_STATE_INVALID: 'This sign-out cannot be completed',
  FST_OAUTH2_PROVIDER_UNAVAILABLE: 'The sign-in service is not answering',
  FST_OAUTH2_SCOPE_DECLINED: 'A permission is missing',
  FST_OAUTH2_SIGNED_OUT: 'You were signed out',
  FST_OAUTH2_STATE_INVALID: 'This sign-in cannot be completed',
  FST_OAUTH2_STEP_UP_FAILED: 'Signing in again was not enough',
  FST_OAUTH2_STEP_UP_REQUIRED: 'Sign in again',
  FST_OAUTH2_STORE_UNAVAILABLE: 'Temporarily unavailable',
  FST_OAUTH2_TICKET_INVALID: 'This link has expired',
  FST_OAUTH2_USER_REQUIRED: 'Sign in first',
}
