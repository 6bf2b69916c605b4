import type { ConsentQuestion } from './consent.js'
import { type Html, html, page } from './html.js'
import type { TestUser } from './options.js'
import type { ScopeBook } from './scopes.js'

/** The pages themselves. On each, the first form is the way forward. */

export interface SignInPage {
  readonly action: string
  readonly clientId: string
  readonly username: string
  readonly error?: string
}

export function signInPage({ action, clientId, username, error }: SignInPage): string {
  const described = error === undefined ? 'hint' : 'error hint'
  // Of the field that is to be filled in next, or again.
  const next = html` autofocus${error === undefined ? undefined : html` aria-invalid="true"`}`
  return page(
    'Sign in',
    html`<p>to continue to <strong>${clientId}</strong></p>
${error === undefined ? undefined : html`<p class="bad" role="alert" id="error">${error}</p>`}
<form method="post" action="${action}">
<label class="field">User name
<input name="username" value="${username}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="64" aria-describedby="${described}"${username === '' ? next : undefined}></label>
<label class="field">Password
<input name="password" type="password" autocomplete="current-password" required aria-describedby="${described}"${username === '' ? undefined : next}></label>
<p class="soft" id="hint">Any user name will do. The password is <code>password</code>.</p>
<button type="submit">Sign in</button>
</form>`,
  )
}

export interface ConsentPage {
  readonly action: string
  readonly refuseAction: string
  readonly user: TestUser
  readonly question: ConsentQuestion
  readonly scopes: ScopeBook
}

export function consentPage({ action, refuseAction, user, question, scopes }: ConsentPage): string {
  const { clientId, asked, granted } = question
  const boxes = asked.filter((scope) => scopes.declinable(scope))
  const fixed = asked.filter((scope) => !scopes.declinable(scope))
  return page(
    `${clientId} wants access`,
    html`<p>to the account of <strong>${user.email}</strong></p>
<form method="post" action="${action}">
${list(`${clientId} will be able to`, fixed, scopes)}
${
  boxes.length === 0
    ? undefined
    : html`<fieldset><legend>Choose what else ${clientId} may do</legend>
${boxes.map(
  (scope) =>
    html`<label class="tick"><input type="checkbox" name="scope" value="${scope}" checked>
<span>${scopes.describe(scope)}${scopes.describe(scope) === scope ? undefined : html` <code>${scope}</code>`}</span></label>`,
)}
</fieldset>`
}
${list('Allowed before', granted, scopes)}
<button type="submit">Allow</button>
</form>
<form method="post" action="${refuseAction}">
<button type="submit">Refuse everything</button>
</form>`,
  )
}

function list(title: string, items: readonly string[], scopes: ScopeBook): Html | undefined {
  if (items.length === 0) return undefined
  return html`<h2>${title}</h2>
<ul>
${items.map((scope) => html`<li>${scopes.describe(scope)}</li>`)}
</ul>`
}

/** `xsrf` is the value that `oidc-provider` compares with the session. */
export function signOutPage(action: string, xsrf: string): string {
  return page(
    'Sign out?',
    html`<p>You are about to sign out of this server.</p>
<form method="post" action="${action}">
<input type="hidden" name="xsrf" value="${xsrf}">
<input type="hidden" name="logout" value="yes">
<button type="submit">Sign out</button>
</form>
<form method="post" action="${action}">
<input type="hidden" name="xsrf" value="${xsrf}">
<button type="submit">Stay signed in here</button>
</form>`,
  )
}

export function signedOutPage(): string {
  return page('Signed out', html`<p>You can close this page.</p>`)
}

export function errorPage(error: string, description = ''): string {
  return page(
    'This did not work',
    html`<p>${description === '' ? 'The request cannot be completed.' : description}</p>
<p class="soft"><code>${error}</code></p>`,
  )
}
