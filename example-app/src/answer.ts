/** Every route answers people with a page and programs with JSON. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Page, renderPage } from './pages/layout.js'

export function wantsHtml(request: FastifyRequest): boolean {
  return request.headers.accept?.includes('text/html') ?? false
}

/** Sends the data as JSON, or the page about it. */
export function answer(request: FastifyRequest, reply: FastifyReply, data: object, page: Page): FastifyReply {
  // What is shown depends on who is signed in: nothing may keep it, and the back button may not bring it back.
  reply.header('cache-control', 'no-store')
  if (!reply.hasHeader('vary')) reply.header('vary', 'Accept')
  if (!wantsHtml(request)) return reply.send(data)
  return reply.type('text/html; charset=utf-8').send(renderPage(request, page))
}
