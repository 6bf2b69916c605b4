import type { FastifyInstance, FastifyRequest } from 'fastify'
import { oauthAware } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import { type Html, html } from '../html.js'
import type { ResourceName, Service } from '../services.js'
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
<section class="card">
<h2>What happens next</h2>
<ol class="steps">
<li><strong>You sign in.</strong> The app learns your e-mail address, and nothing else.</li>
<li><strong>You open your files or your calendar.</strong> Only then are you asked for that one permission, and you can say no.</li>
<li><strong>You stay in charge.</strong> <a href="/connections">Connections</a> shows what is stored, and takes it back.</li>
</ol>
</section>`,
  }
}

async function welcome(request: FastifyRequest, service: Service): Promise<Page> {
  const { email } = request.oauth2
  const [name, host] = email?.split('@') ?? []
  return {
    title: `Hello ${email ?? ''}`.trim(),
    // A long address breaks after its name.
    heading: html`Hello ${name ?? ''}${host !== undefined && html`@<wbr>${host}`}`,
    lead: 'Some pages need one more permission. You are told what for, then asked, and not before.',
    body: html`<div class="cards">
<section class="card">
<h2>Your profile</h2>
<p class="state yes">Allowed</p>
<p>Who you are, and your notes. Signing in was enough for that.</p>
<p class="actions"><a class="button" href="/profile">Open your profile</a></p>
</section>
${await resourceCard(request, service, 'files')}
${await resourceCard(request, service, 'calendar')}
</div>`,
  }
}

/** Says what is going to be asked for, before anybody is redirected. */
async function resourceCard({ oauth2 }: FastifyRequest, service: Service, name: ResourceName): Promise<Html> {
  const { scope } = service[name]
  const words = html`<strong>${service.words[scope] ?? scope}</strong>`
  const card = (state: Html, text: Html, link: Html) => html`<section class="card">
<h2>Your ${name}</h2>
${state}
<p>${text}</p>
<p class="actions">${link}</p>
</section>`
  if (oauth2.hasCredentials(scope)) {
    const open = html`<a class="button" href="/${name}">Open your ${name}</a>`
    return card(html`<p class="state yes">Allowed</p>`, html`You allowed this: ${words}.`, open)
  }
  if (oauth2.accounts().some(({ declined }) => declined.includes(scope))) {
    // The page itself does not ask a second time; this link does.
    const again = await oauth2.authorizeUrl(`/${name}`, { scopes: scope })
    return card(
      html`<p class="state no">Declined</p>`,
      html`It needs one more permission, which you declined: ${words}.`,
      html`<a class="button quiet" href="${again}">Ask me again</a> <a href="/why/${name}">Why?</a>`,
    )
  }
  return card(
    html`<p class="state">Not asked yet</p>`,
    html`It needs one more permission: ${words}.`,
    html`<a class="button quiet" href="/why/${name}">Add your ${name}</a>`,
  )
}
