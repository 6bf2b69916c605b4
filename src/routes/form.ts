/** Our own forms: what keeps another site from posting them. */
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { readBinding } from '../session/session.js'
import { createXsrfToken, verifyXsrfToken } from '../xsrf/token.js'

/** Milliseconds that a page with a form may stay open. */
const FORM_LIFETIME = 86_400_000

export interface FormBody {
  readonly _csrf?: unknown
  readonly return_url?: unknown
  readonly refuse?: unknown
}

/** What was posted; nothing at all is possible too. */
export function bodyOf(request: FastifyRequest): FormBody {
  return (request.body as FormBody | null | undefined) ?? {}
}

/** The token for the `_csrf` field of a form, where the session has a binding. */
export function formToken({ options: { keys, clock } }: Client, request: FastifyRequest, action: string): string {
  const [key] = keys.macKeys('xsrf')
  return createXsrfToken(key as NonNullable<typeof key>, { user: readBinding(request) ?? '', action, now: clock() })
}

/** Whether the form is one that we gave to this browser. */
export function isOurForm({ options: { keys, clock } }: Client, request: FastifyRequest, action: string): boolean {
  const user = readBinding(request)
  if (user === undefined) return false
  const token = bodyOf(request)._csrf ?? request.headers['x-csrf-token']
  return keys
    .macKeys('xsrf')
    .some((key) => verifyXsrfToken(key, token, { user, action, now: clock(), lifetime: FORM_LIFETIME }))
}
