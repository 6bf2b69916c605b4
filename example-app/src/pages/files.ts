import type { FastifyInstance } from 'fastify'
import { requireOAuth } from 'fastify-oauth2client'
import { answer } from '../answer.js'
import { callApi } from '../api.js'
import { html } from '../html.js'
import type { Service } from '../services.js'
import { when } from './parts.js'

interface FileList {
  readonly files?: readonly { readonly id: string; readonly name: string; readonly modifiedTime?: string }[]
}

export function fileRoutes(app: FastifyInstance, { service }: { service: Service }): void {
  const { scope, url } = service.files
  app.get('/files', { onRequest: requireOAuth(scope) }, async (request, reply) => {
    const { files = [] } = await callApi<FileList>(request, `${url}?pageSize=20&fields=files(id,name,modifiedTime)`)
    return answer(
      request,
      reply,
      { files },
      {
        title: 'Your files',
        lead: `Fetched just now from ${service.name}, with the permission that you gave.`,
        body:
          files.length === 0
            ? html`<p>There are no files.</p>`
            : html`<ul class="rows" aria-label="Files">
${files.map(
  ({ name, modifiedTime }) =>
    html`<li><span>${name}</span>${modifiedTime !== undefined && html` <span class="soft">changed ${when(Date.parse(modifiedTime))}</span>`}</li>`,
)}
</ul>`,
      },
    )
  })
}
