/** One page for each permission: what is asked and what for, before anybody is sent anywhere. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { oauthAware } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import { html } from '../html.js'
import { RESOURCE_NAMES, type ResourceName, type Service } from '../services.js'
import { isSignedIn, type Page } from './layout.js'

const REASONS: Readonly<Record<ResourceName, { what: string; not: string }>> = {
  files: {
    what: 'The Files page lists the names of your files, and when each was changed.',
    not: 'It opens no file, changes nothing, and keeps no copy of the list.',
  },
  calendar: {
    what: 'The Calendar page lists what is coming up, and when.',
    not: 'It adds nothing, changes nothing, and keeps no copy of the list.',
  },
}

export function whyRoutes(app: FastifyInstance, { service }: { service: Service }): void {
  for (const name of RESOURCE_NAMES) {
    app.get(`/why/${name}`, { onRequest: oauthAware() }, async (request, reply) => {
      const { scope } = service[name]
      const data = { scope, allowed: request.oauth2.hasCredentials(scope), ...REASONS[name] }
      return answer(request, reply, data, await whyPage(request, service, name))
    })
  }
}

async function whyPage(request: FastifyRequest, service: Service, name: ResourceName): Promise<Page> {
  const { oauth2 } = request
  const { scope } = service[name]
  const { what, not } = REASONS[name]
  const allowed = oauth2.hasCredentials(scope)
  // The guarded page asks by itself, but not again right after a no. This link does.
  const declined = oauth2.accounts().some((account) => account.declined.includes(scope))
  const onward = declined ? await oauth2.authorizeUrl(`/${name}`, { scopes: scope }) : `/${name}`
  return {
    title: allowed ? `Your ${name}: allowed` : `Your ${name} need${name === 'files' ? '' : 's'} one more permission`,
    lead: allowed
      ? 'You gave this permission before.'
      : declined
        ? 'You declined it before. This is what it is about.'
        : 'Nothing has been asked yet. This is what it is about.',
    body: html`<section class="card ask">
<p class="ask-what"><span class="soft">This app asks ${service.name} for</span>
<strong>${service.words[scope] ?? scope}</strong></p>
<dl>
<div><dt>What for</dt><dd>${what}</dd></div>
<div><dt>What it does not do</dt><dd>${not}</dd></div>
<div><dt>If you say no</dt><dd>Everything else works as before, and you can say yes later.</dd></div>
<div><dt>If you say yes</dt><dd>You come back to your ${name}. <a href="/connections">Connections</a> takes it back at any time.</dd></div>
</dl>
</section>
<p class="actions">
${
  allowed
    ? html`<a class="button" href="/${name}">Open your ${name}</a>`
    : html`<a class="button" href="${onward}">Continue to ${service.name}</a>`
}
<a class="button quiet" href="/">${allowed ? 'Home' : 'Not now'}</a>
</p>
${!allowed && !isSignedIn(request) && html`<p class="soft">You are not signed in: that comes first, and on the same way.</p>`}`,
  }
}
