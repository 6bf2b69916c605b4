import type { FastifyInstance } from 'fastify'
import { requireOAuth } from 'fastify-oauth2client'
import type { Kysely } from 'kysely'
import { answer, wantsHtml } from '../answer.js'
import type { Tables } from '../database.js'
import { FormError, type FormTokens, field } from '../forms.js'
import { type Html, html } from '../html.js'
import { addNote, listNotes, MAX_NOTE, type Note } from '../notes.js'
import type { Service } from '../services.js'
import { notice, scopeList } from './parts.js'

export interface ProfileParts {
  readonly service: Service
  readonly db: Kysely<Tables>
  readonly tokens: FormTokens
}

export function profileRoutes(app: FastifyInstance, { service, db, tokens }: ProfileParts): void {
  app.get('/profile', { onRequest: requireOAuth() }, async (request, reply) => {
    const { email, userId, scopes } = request.oauth2
    const notes = await listNotes(db, userId as string)
    const { saved } = request.query as { saved?: unknown }
    return answer(
      request,
      reply,
      { email, userId, scopes, notes },
      {
        title: 'Your profile',
        lead: 'What signing in told this app, and what you wrote here yourself.',
        body: html`${saved !== undefined && notes.length > 0 && notice('Your note is saved.')}
<section class="card">
<h2>You</h2>
<dl>
<div><dt>E-mail address</dt><dd>${email ?? 'unknown'}</dd></div>
<div><dt>Identity</dt><dd><code>${userId ?? ''}</code></dd></div>
</dl>
<h3>What you allowed</h3>
${scopeList(scopes, service)}
</section>
${notesSection(notes, tokens.input(request, 'notes'))}`,
      },
    )
  })

  const guarded = { onRequest: requireOAuth(), preHandler: tokens.check('notes') }
  app.post('/notes', guarded, async (request, reply) => {
    const text = field(request, 'text')
    if (text === '' || text.length > MAX_NOTE) {
      throw new FormError(400, `A note has between 1 and ${MAX_NOTE} characters.`)
    }
    const note = await addNote(db, request.oauth2.userId as string, text)
    // 303: reloading the page must not post again.
    if (wantsHtml(request)) return reply.redirect('/profile?saved=1#notes', 303)
    return reply.code(201).send(note)
  })
}

function notesSection(notes: readonly Note[], token: Html): Html {
  return html`<section class="card" id="notes">
<h2>Your notes</h2>
<form class="stack" method="post" action="/notes">
${token}
<label for="text">A new note</label>
<textarea id="text" name="text" rows="2" maxlength="${MAX_NOTE}" required aria-describedby="text-hint"></textarea>
<p class="soft" id="text-hint">Only you see it. At most ${MAX_NOTE} characters.</p>
<button type="submit">Save the note</button>
</form>
${
  notes.length === 0
    ? html`<p class="soft">There are no notes yet.</p>`
    : html`<ul class="rows" aria-label="Your notes">
${notes.map(({ text }) => html`<li>${text}</li>`)}
</ul>`
}
</section>`
}
