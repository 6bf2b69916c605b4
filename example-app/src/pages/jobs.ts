import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { requireOAuth } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import type { FormTokens } from '../forms.js'
import { type Html, html } from '../html.js'
import { type JobReport, refreshJob } from '../jobs.js'
import type { Service } from '../services.js'
import { notice, scopeList, when } from './parts.js'

export interface JobParts {
  readonly service: Service
  readonly tokens: FormTokens
}

export function jobRoutes(app: FastifyInstance, { service, tokens }: JobParts): void {
  // The guard is for the person who looks. The job itself gets the user's key, and nothing of this request.
  const run = async (request: FastifyRequest, reply: FastifyReply, renew: boolean) => {
    const userId = request.oauth2.userId as string
    const report = await refreshJob(app, userId, renew)
    return answer(
      request,
      reply,
      { userId, ...report },
      {
        title: 'Background job',
        lead: 'This ran as it would at night: with what is stored for you, and without your session.',
        body: html`${outcome(report, userId, service)}
<form class="actions" method="post" action="/jobs/refresh">
${tokens.input(request, 'job')}
<a class="button" href="/jobs/refresh">Run it again</a>
<button class="quiet" type="submit">Get a new access token</button>
</form>`,
      },
    )
  }
  app.get('/jobs/refresh', { onRequest: requireOAuth() }, (request, reply) => run(request, reply, false))
  const guarded = { onRequest: requireOAuth(), preHandler: tokens.check('job') }
  app.post('/jobs/refresh', guarded, (request, reply) => run(request, reply, true))
}

function outcome(report: JobReport, userId: string, service: Service): Html {
  if (!report.ok) {
    const text = html`The job could not run: ${report.message} <a href="/connections">Look at your connections</a>`
    return notice(text, true)
  }
  const said = report.refreshed
    ? 'The job got a new access token.'
    : 'The stored access token is still good, so the job used that.'
  return html`${notice(said)}
<dl class="card">
<div><dt>For</dt><dd><code>${userId}</code></dd></div>
<div><dt>Access token</dt><dd>${
    report.expiresAt === undefined ? 'does not say when it expires' : html`expires ${when(report.expiresAt)}`
  }</dd></div>
<div><dt>Good for</dt><dd>${scopeList(report.scopes, service)}</dd></div>
</dl>`
}
