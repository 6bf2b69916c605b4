import type { FastifyInstance } from 'fastify'
import { type ConnectedAccount, oauthAware, type ReauthorizationReason } from 'fastify-oauth2client'
import { answer, wantsHtml } from '../answer.js'
import { FormError, type FormTokens, field } from '../forms.js'
import { type Html, html } from '../html.js'
import type { Service } from '../services.js'
import { notice, scopeList, scopeUses, when } from './parts.js'

/** What is said after a revocation, by what became of it at the provider. */
const OUTCOMES: Readonly<Record<string, string>> = {
  revoked: 'The access was taken back: nothing is stored here any more, and the tokens are worth nothing.',
  failed:
    'Nothing is stored here any more, but the other side could not be reached to end the access there too. You can do that in your account settings.',
  unsupported: 'Nothing is stored here any more. The access can only be ended in your account settings.',
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
    // For this very account: whoever else signs in on the way does not take its place.
    const again = (id: string) => oauth2.authorizeUrl('/connections', { account: id })
    return answer(
      request,
      reply,
      { accounts },
      {
        title: 'Connections',
        lead: `What this app stores about its access to ${service.name}.`,
        body: html`${outcome !== undefined && notice(outcome, revoked === 'failed')}
${
  accounts.length === 0
    ? html`<p>Nothing is stored for you in this browser.</p>
<p class="actions"><a class="button" href="${signIn}">Sign in</a></p>`
    : await Promise.all(
        accounts.map(async (account, index) =>
          accountCard(account, index, service, await again(account.id), tokens.input(request, 'revoke')),
        ),
      )
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

interface State {
  readonly text: string
  readonly good: boolean
  /** What it means for the person. */
  readonly note?: string
}

function stateOf({ status, reason, expiresAt, refreshable }: ConnectedAccount): State {
  if (status === 'needs_reauthorization') {
    const why = reason === undefined ? '' : `: ${REASONS[reason]}`
    return { text: 'Needs your attention', good: false, note: `Reconnect to go on${why}.` }
  }
  if (!refreshable && expiresAt !== undefined && expiresAt <= Date.now()) {
    return { text: 'Expired', good: false, note: 'Reconnect to go on: this access cannot be renewed without you.' }
  }
  if (status === 'refreshing') return { text: 'Connected', good: true, note: 'It is being renewed right now.' }
  if (status === 'in_doubt') {
    return { text: 'Connected', good: true, note: 'The last renewal got no answer. It will be tried again.' }
  }
  return { text: 'Connected', good: true }
}

function accountCard(account: ConnectedAccount, index: number, service: Service, again: string, token: Html): Html {
  const { id, email, scopes, declined, obtainedAt, expiresAt, refreshable } = account
  const { text, good, note } = stateOf(account)
  const rest = refreshable ? ', and is then renewed by itself' : ''
  return html`<section class="card" aria-labelledby="account-${index}">
<h2 id="account-${index}">${email ?? id}</h2>
<p class="state ${good ? 'yes' : 'no'}">${text}</p>
${note !== undefined && html`<p>${note}</p>`}
<h3>Allowed</h3>
${scopeUses(scopes, service)}
${
  declined.length > 0 &&
  html`<h3>Declined</h3>
${scopeList(declined, service)}`
}
<dl>
<div><dt>Last renewed</dt><dd>${when(obtainedAt)}</dd></div>
<div><dt>Access token</dt><dd>${
    expiresAt === undefined
      ? 'does not say when it expires'
      : expiresAt > Date.now()
        ? html`expires ${when(expiresAt)}${rest}`
        : html`expired ${when(expiresAt)}${refreshable && ', and is renewed when it is needed'}`
  }</dd></div>
</dl>
<div class="choices">
<p><a class="button${good && ' quiet'}" href="${again}" aria-describedby="reconnect-${index}">Reconnect</a></p>
<p class="soft" id="reconnect-${index}">Takes you to ${service.name} and back, and renews what is stored. Nothing else changes.</p>
<form method="post" action="/connections/revoke">
${token}
<input type="hidden" name="account" value="${id}">
<button class="danger" type="submit" aria-describedby="revoke-${index}">Take the access back</button>
</form>
<p class="soft" id="revoke-${index}">Ends the access here and at ${service.name}, in every browser, and signs you out. Your notes stay.</p>
</div>
</section>`
}
