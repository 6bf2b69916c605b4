/** Which forms are kept while their person is at the provider: those that a page of ours sent, and that can be shown. */
import type { FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { OptionError } from '../errors.js'
import { sentByOurPage } from '../session/cause.js'
import type { Fields } from '../session/held-forms.js'
import { parseReturnUrl } from '../session/return-url.js'
import { isEncrypted } from '../session/session.js'
import { isFormNavigation } from './navigation.js'

/** Bytes, as a browser would send it. */
const MAXIMUM_BYTES = 65_536
/** The page that shows them has to stay one that people can read. */
const MAXIMUM_FIELDS = 1_000

/** A form that a guard may keep. */
export interface ResumableForm {
  readonly fields: Fields
  /** Path and query that it was posted to. */
  readonly path: string
}

/**
 * Whether this route can keep forms at all: a mistake in the set-up is found by its first form, whoever posts it.
 *
 * @throws {OptionError}
 */
export function checkResumable(client: Client, request: FastifyRequest): void {
  const { name, options, resumePath } = client
  if (!isForm(request) || request.is404) return
  if (request.body === undefined) {
    throw new OptionError('requireOAuth({ resume })', `found no body. ${WHERE}`)
  }
  if (!options.store && isEncrypted(request)) {
    throw new OptionError(
      'requireOAuth({ resume })',
      'has nowhere to keep a form: it is never put into a cookie, and this session is one. Set the option "storage" to a credential store, or use @fastify/session.',
    )
  }
  if (!options.routes && !request.server.hasRoute({ method: 'GET', url: resumePath })) {
    throw new OptionError(
      'requireOAuth({ resume })',
      `needs a route GET ${resumePath} that calls handleResume(request, reply${name === 'oauth2' ? '' : `, { client: '${name}' }`}).`,
    )
  }
}

/** What to write where the guard stands in `onRequest`. */
export const WHERE = 'Put the guard into preValidation or preHandler: there is no body before.'

/** The form in a request, if everything that it takes to show it again, and to post it again, is known. */
export function resumableForm(client: Client, request: FastifyRequest): ResumableForm | undefined {
  if (!isFormNavigation(request) || !isForm(request) || !sentByOurPage(client, request)) return undefined
  const path = client.publicPrefix + request.originalUrl
  if (parseReturnUrl(path) !== path) return undefined
  const fields = fieldsOf(request.body)
  return fields && { fields, path }
}

function isForm({ method, headers }: FastifyRequest): boolean {
  const [type = ''] = (headers['content-type'] ?? '').split(';')
  return method === 'POST' && type.trim().toLowerCase() === 'application/x-www-form-urlencoded'
}

/** What a parser made of a form. One that made more of it than text cannot be asked how it was written. */
function fieldsOf(body: unknown): Fields | undefined {
  const entries =
    typeof body === 'string' || body instanceof URLSearchParams
      ? [...new URLSearchParams(body)]
      : Object.entries(body ?? {})
  const fields: [string, string][] = []
  for (const [name, value] of entries) {
    for (const text of [value].flat() as unknown[]) {
      if (typeof text !== 'string') return undefined
      fields.push([name, text])
    }
  }
  // A browser sends no field without a name, and no page can hold the character 0.
  if (fields.some(([name, value]) => name === '' || `${name}${value}`.includes('\0'))) return undefined
  const fits = fields.length <= MAXIMUM_FIELDS && new URLSearchParams(fields).toString().length <= MAXIMUM_BYTES
  return fits ? fields : undefined
}
