/** The app's own forms: how they are read, and how those of other sites are kept out. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createXsrfToken, verifyXsrfToken } from 'fastify-oauth2client/xsrf'
import { type Html, html } from './html.js'

const FORM = 'application/x-www-form-urlencoded'
const FORM_LIMIT = 16_384

export function parseForms(app: FastifyInstance): void {
  app.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: FORM_LIMIT }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
}

export class FormError extends Error {
  readonly statusCode: number
  readonly code = 'FORM_INVALID'

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** A text field of the body, whatever kind of body that is. */
export function field(request: FastifyRequest, name: string): string {
  const value = (request.body as Record<string, unknown> | null | undefined)?.[name]
  return typeof value === 'string' ? value.trim() : ''
}

/** Tokens against cross-site requests, bound to the user and to what the form does. */
export interface FormTokens {
  /** The hidden field of a form. */
  input(request: FastifyRequest, action: string): Html
  /** A `preHandler` for the route that the form posts to. */
  check(action: string): (request: FastifyRequest, reply: FastifyReply) => Promise<void>
}

export function formTokens(key: string): FormTokens {
  const bind = (request: FastifyRequest, action: string) => ({ user: request.oauth2.userId ?? '', action })
  return {
    input: (request, action) =>
      html`<input type="hidden" name="_csrf" value="${createXsrfToken(key, bind(request, action))}">`,
    check: (action) => async (request) => {
      // Forms of other sites cannot send JSON.
      if (request.headers['content-type']?.startsWith('application/json')) return
      if (verifyXsrfToken(key, field(request, '_csrf'), bind(request, action))) return
      throw new FormError(403, 'This form has expired or was not sent from this site. Go back, reload and try again.')
    },
  }
}
