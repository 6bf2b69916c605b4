/**
 * `POST /oauth2callback/confirm`: the person says whether an account is to be connected that another site may have had them
 * ask for. Nobody else can say it: the form is ours, and what it is about waits in this browser's session.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import type { Account } from '../credentials/record.js'
import { unavailable } from '../credentials/refresh/refresher.js'
import {
  AccessDeniedError,
  AccountMismatchError,
  ConfirmationRequiredError,
  StateInvalidError,
  UserRequiredError,
  XsrfInvalidError,
} from '../errors.js'
import { answerError } from '../guards/answer.js'
import { isClientError } from '../guards/challenge.js'
import { acceptsHtml } from '../guards/navigation.js'
import { rememberCause } from '../session/cause.js'
import type { PendingLink } from '../session/pending-links.js'
import { appData } from '../session/session.js'
import { conclude, concludedAt } from './conclude.js'
import { type Connected, connectAccount, type Linked } from './connect.js'
import { bodyOf, formToken, isOurForm } from './form.js'

/** An account that the person has yet to confirm. Nothing is stored for the user. */
export interface Unconfirmed {
  /** How to call it. */
  readonly account: { readonly id: string | null; readonly email: string | null }
  /** What each response that asks has to carry, where there is no store. */
  readonly pending?: string
}

/** Asks. Nothing was stored so far. */
export function askToConfirm(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  hash: string,
  account: Unconfirmed['account'],
): Promise<FastifyReply> {
  const error = new ConfirmationRequiredError()
  const confirmUrl = `${client.publicPrefix}${client.confirmPath}?flow=${hash}`
  const _csrf = formToken(client, request, actionOf(client, hash))
  error.details = {
    account,
    provider: new URL(client.options.provider.issuer).host,
    application: new URL(client.redirectUri(request)).host,
    confirmUrl,
    _csrf,
  }
  return answerError(client, request, reply, error, [
    { href: confirmUrl, text: 'Connect this account', fields: [['_csrf', _csrf]] },
    {
      href: confirmUrl,
      text: 'Do not connect it',
      fields: [
        ['_csrf', _csrf],
        ['refuse', 'true'],
      ],
    },
  ])
}

/** How to call an account that is not connected yet. An address that the provider does not vouch for may be anybody's. */
export function accountForDisplay({ id, identified, email, claims }: Account): Unconfirmed['account'] {
  const vouched = email !== undefined && String(claims?.email_verified) !== 'false'
  return { id: identified ? id : null, email: vouched ? email : null }
}

export async function confirm(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  try {
    return await decide(client, request, reply)
  } catch (error) {
    if (!isClientError(error)) throw error
    // Whoever starts again is still where another site sent them.
    rememberCause(client, request, reply, true)
    const again = { href: client.authorizePath, text: 'Start again' }
    return answerError(client, request, reply, error, again, acceptsHtml(request.headers.accept))
  }
}

async function decide(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { flow } = request.query as { readonly flow?: unknown }
  const hash = String(flow)
  if (!isOurForm(client, request, actionOf(client, hash))) throw new XsrfInvalidError()
  const user = await client.userFor(request)
  if (user === undefined) throw new UserRequiredError()
  const found = await client.pendingLinks.find(request, hash)
  if (found && found.flow.user !== user) throw new AccountMismatchError()
  return bodyOf(request).refuse === undefined
    ? connect(client, request, reply, hash, user, found)
    : refuse(client, request, reply, hash, found)
}

async function connect(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  hash: string,
  user: string,
  found: PendingLink | undefined,
): Promise<FastifyReply> {
  const led = found ? undefined : concludedAt(client, request, hash)
  if (led !== undefined) return reply.redirect(led, 303)
  const before = appData(request)
  let connected: Connected | undefined
  // A form that is sent twice joins the first one, as a callback does.
  const run = await client.completions.run(
    `${hash}.confirm`,
    client.options.provider.timeout,
    async (): Promise<Confirmed> => {
      if (!found || !(await client.pendingLinks.take(hash))) throw new StateInvalidError()
      const { flow, account, binding } = found
      // Consent was asked for again, where that had to be, before the question whose account it is.
      connected = await connectAccount(client, request, { ...flow, binding, reconsented: true }, account)
      const { scopes, returnUrl, form, stepUp } = flow
      const rest = { ...(form === undefined ? {} : { form }), ...(stepUp ? { stepUp } : {}) }
      return { ...connected.completion, flow: { scopes, returnUrl, ...rest } }
    },
  )
  if (!run) throw unavailable(5)
  const { flow, ...completion } = run.completion
  if (completion.user !== user) throw new AccountMismatchError()
  client.pendingLinks.discard(request, reply)
  return conclude(client, request, reply, { flow, hash, completion, authorized: connected?.authorized, before })
}

interface Confirmed extends Linked {
  readonly flow: Pick<PendingLink['flow'], 'scopes' | 'returnUrl' | 'form' | 'stepUp'>
}

/**
 * What was received is dropped, and not revoked: at providers such as Google, revoking one token ends the whole grant of that
 * account, which another user of this app may have connected.
 */
async function refuse(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  hash: string,
  found: PendingLink | undefined,
): Promise<FastifyReply> {
  if (!found || !(await client.pendingLinks.take(hash))) throw new StateInvalidError()
  client.pendingLinks.discard(request, reply)
  const { scopes, returnUrl } = found.flow
  // A guard does not ask again by itself for what was just refused.
  await client.outcome.save(reply, { scopes, code: new AccessDeniedError().code })
  return reply.redirect(client.returnUrl(returnUrl), 303)
}

/** A form is good for one question, and for no other form of ours. */
function actionOf(client: Client, hash: string): string {
  return `${client.name} confirm ${hash}`
}
