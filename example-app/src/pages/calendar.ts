import type { FastifyInstance } from 'fastify'
import { requireOAuth } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import { callApi } from '../api.js'
import { html } from '../html.js'
import type { Service } from '../services.js'
import { dateOf } from './parts.js'

interface EventList {
  readonly items?: readonly {
    readonly id: string
    readonly summary?: string
    readonly start?: { readonly dateTime?: string; readonly date?: string }
  }[]
}

export function calendarRoutes(app: FastifyInstance, { service }: { service: Service }): void {
  const { scope, url } = service.calendar
  app.get('/calendar', { onRequest: requireOAuth(scope) }, async (request, reply) => {
    const query = new URLSearchParams({
      maxResults: '20',
      orderBy: 'startTime',
      singleEvents: 'true',
      timeMin: new Date().toISOString(),
    })
    const { items: events = [] } = await callApi<EventList>(request, `${url}?${query}`)
    return answer(
      request,
      reply,
      { events },
      {
        title: 'Your calendar',
        lead: `What is coming up, fetched just now from ${service.name}.`,
        body:
          events.length === 0
            ? html`<p>Nothing is coming up.</p>`
            : html`<ul class="rows" aria-label="Events">
${events.map(
  ({ summary = 'Busy', start }) =>
    html`<li><span>${summary}</span> <span class="soft">${dateOf(start?.dateTime ?? start?.date ?? '')}</span></li>`,
)}
</ul>`,
      },
    )
  })
}
