import type { FastifyInstance, FastifyRequest } from 'fastify'
import { oauthAware } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import { type Html, html } from '../html.js'
import type { Resource, Service } from '../services.js'
import { isSignedIn, type Page } from './layout.js'

export function homeRoutes(app: FastifyInstance, { service }: { service: Service }): void {
  app.get('/', { onRequest: oauthAware() }, async (request, reply) => {
    const { oauth2 } = request
    const data = { signedIn: isSignedIn(request), email: oauth2.email, scopes: oauth2.scopes }
    return answer(
      request,
      reply,
      data,
      data.signedIn ? await welcome(request, service) : await invitation(request, service),
    )
  })
}

async function invitation({ oauth2 }: FastifyRequest, service: Service): Promise<Page> {
  return {
    title: 'One permission at a time',
    lead: `Sign in with ${service.name}. To begin with, this app only asks who you are.`,
    body: html`<p class="actions"><a class="button" href="${await oauth2.authorizeUrl('/')}">Sign in</a></p>
<h2>What happens next</h2>
<ol class="steps">
<li><strong>You sign in.</strong> The app learns your e-mail address, and nothing else.</li>
<li><strong>You open your files or your calendar.</strong> Only then are you asked for that one permission, and you can say no.</li>
<li><strong>You stay in charge.</strong> <a href="/connections">Connections</a> shows what is stored, and takes it back.</li>
</ol>`,
  }
}

async function welcome(request: FastifyRequest, service: Service): Promise<Page> {
  const { oauth2 } = request
  return {
    title: `Hello ${oauth2.email ?? ''}`.trim(),
    lead: 'Some pages need one more permission. You are asked for it when you open them, and not before.',
    body: html`<div class="cards">
<section class="card">
<h2>Your profile</h2>
<p class="state yes">Allowed</p>
<p>Who you are, and your notes. Signing in was enough for that.</p>
<p class="actions"><a class="button" href="/profile">Open your profile</a></p>
</section>
${await resourceCard(request, service, { ...service.files, name: 'files', path: '/files' })}
${await resourceCard(request, service, { ...service.calendar, name: 'calendar', path: '/calendar' })}
</div>`,
  }
}

/** Says what is going to be asked for, before anybody is redirected. */
async function resourceCard(
  { oauth2 }: FastifyRequest,
  service: Service,
  { scope, name, path }: Resource & { readonly name: string; readonly path: string },
): Promise<Html> {
  const card = (state: Html, text: Html, link: Html) => html`<section class="card">
<h2>Your ${name}</h2>
${state}
<p>${text}</p>
<p class="actions">${link}</p>
</section>`
  if (oauth2.hasCredentials(scope)) {
    const open = html`<a class="button" href="${path}">Open your ${name}</a>`
    return card(html`<p class="state yes">Allowed</p>`, html`You allowed this: ${oneMore(service, scope)}.`, open)
  }
  if (oauth2.accounts().some(({ declined }) => declined.includes(scope))) {
    // The page itself does not ask a second time; this link does.
    const again = await oauth2.authorizeUrl(path, { scopes: scope })
    return card(
      html`<p class="state no">Declined</p>`,
      html`It needs one more permission, which you declined: ${oneMore(service, scope)}.`,
      html`<a class="button" href="${again}">Ask me again</a>`,
    )
  }
  return card(
    html`<p class="state">Not asked yet</p>`,
    html`It needs one more permission: ${oneMore(service, scope)}. You will be asked for it on the next page.`,
    html`<a class="button" href="${path}">Allow and open</a>`,
  )
}

function oneMore({ words }: Service, scope: string): Html {
  return html`<strong>${words[scope] ?? scope}</strong>`
}
