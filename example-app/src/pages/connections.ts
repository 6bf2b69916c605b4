import type { FastifyInstance } from 'fastify'
import { type AccountStatus, type ConnectedAccount, oauthAware, type ReauthorizationReason } from 'fastify-oauth2client'
import { answer, wantsHtml } from '../answer.js'
import { FormError, type FormTokens, field } from '../forms.js'
import { type Html, html } from '../html.js'
import type { Service } from '../services.js'
import { scopeList, when } from './parts.js'

/** What is said after a revocation, by what became of it at the provider. */
const OUTCOMES: Readonly<Record<string, string>> = {
  revoked: 'The access was taken back: nothing is stored here any more, and the tokens are worth nothing.',
  failed:
    'Nothing is stored here any more, but the other side could not be reached to end the access there too. You can do that in your account settings.',
  unsupported: 'Nothing is stored here any more. The access can only be ended in your account settings.',
}

const STATES: Readonly<Record<Exclude<AccountStatus, 'needs_reauthorization'>, string>> = {
  active: 'Active',
  refreshing: 'Active, and being renewed right now',
  in_doubt: 'Active; the last renewal got no answer and will be tried again',
}

const REASONS: Readonly<Record<ReauthorizationReason, string>> = {
  refused: 'the access was taken back or has run out',
  lost_rotation: 'an answer of the other side got lost on the way',
  identity_changed: 'the access turned out to belong to somebody else',
}

export interface ConnectionParts {
  readonly service: Service
  readonly tokens: FormTokens
}

export function connectionRoutes(app: FastifyInstance, { service, tokens }: ConnectionParts): void {
  // Aware and not guarded: who has to sign in again should see so, rather than being redirected.
  app.get('/connections', { onRequest: oauthAware() }, async (request, reply) => {
    const { oauth2 } = request
    const accounts = oauth2.accounts()
    const { revoked } = request.query as { revoked?: unknown }
    const outcome = OUTCOMES[String(revoked)]
    const signIn = await oauth2.authorizeUrl('/connections')
    return answer(
      request,
      reply,
      { accounts },
      {
        title: 'Connections',
        lead: `What this app stores about its access to ${service.name}.`,
        body: html`${outcome !== undefined && html`<p class="notice" role="status">${outcome}</p>`}
${
  accounts.length === 0
    ? html`<p>Nothing is stored for you in this browser.</p>
<p class="actions"><a class="button" href="${signIn}">Sign in</a></p>`
    : accounts.map((account) => accountCard(account, service, signIn, tokens.input(request, 'revoke')))
}`,
      },
    )
  })

  const checked = { onRequest: oauthAware(), preHandler: tokens.check('revoke') }
  app.post('/connections/revoke', checked, async (request, reply) => {
    const { oauth2 } = request
    const id = field(request, 'account')
    const others = oauth2.accounts().filter((account) => account.id !== id)
    if (others.length === oauth2.accounts().length) throw new FormError(404, 'There is no such connection.')
    const outcome = await oauth2.account(id).revoke()
    // Revoking ends the access everywhere; what is left is this browser's sign-in.
    if (others.length === 0) await oauth2.signOut()
    if (wantsHtml(request)) return reply.redirect(`/connections?revoked=${outcome.remote}`, 303)
    return reply.send(outcome)
  })
}

function accountCard(account: ConnectedAccount, service: Service, signIn: string, token: Html): Html {
  const { id, email, scopes, declined, status, reason, obtainedAt, expiresAt, refreshable } = account
  return html`<section class="card">
<h2>${email ?? id}</h2>
${
  status === 'needs_reauthorization'
    ? html`<p class="state no">Needs you to sign in again${reason && html`: ${REASONS[reason]}`}</p>
<p class="actions"><a class="button" href="${signIn}">Sign in again</a></p>`
    : html`<p class="state yes">${STATES[status]}</p>`
}
<dl>
<div><dt>Allowed</dt><dd>${scopeList(scopes, service)}</dd></div>
${declined.length > 0 && html`<div><dt>Declined</dt><dd>${scopeList(declined, service)}</dd></div>`}
<div><dt>Last renewed</dt><dd>${when(obtainedAt)}</dd></div>
<div><dt>Access token</dt><dd>${
    expiresAt === undefined
      ? 'does not say when it expires'
      : html`${expiresAt > Date.now() ? 'expires' : 'expired'} ${when(expiresAt)}`
  }</dd></div>
<div><dt>After that</dt><dd>${refreshable ? 'it is renewed by itself' : 'you have to sign in again'}</dd></div>
</dl>
<form method="post" action="/connections/revoke">
${token}
<input type="hidden" name="account" value="${id}">
<button class="danger" type="submit">Take the access back</button>
</form>
</section>`
}
