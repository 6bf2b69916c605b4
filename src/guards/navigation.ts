/** Whether a request is a person going to a page, who can be sent elsewhere, or a program, which cannot. */
import type { FastifyReply, FastifyRequest } from 'fastify'

const PREFETCH = /\bprefetch\b|\bprerender\b|\bpreview\b/i

/** Request headers that the answer of a guard depends on. */
export const NAVIGATION_HEADERS = [
  'Accept',
  'Sec-Fetch-Mode',
  'Sec-Fetch-Dest',
  'Sec-Purpose',
  'Purpose',
  'X-Moz',
  'X-Requested-With',
  'HX-Request',
  'Turbo-Frame',
]

export function isPrefetch({ headers }: FastifyRequest): boolean {
  return ['sec-purpose', 'purpose', 'x-moz'].some((name) => PREFETCH.test(String(headers[name] ?? '')))
}

/** GET or HEAD of a document by a browser on a person's behalf. */
export function isNavigation(request: FastifyRequest): boolean {
  return (request.method === 'GET' || request.method === 'HEAD') && wantsDocument(request)
}

/** A form that a browser posts on a person's behalf, and whose answer it shows as a page. */
export function isFormNavigation(request: FastifyRequest): boolean {
  return request.method === 'POST' && wantsDocument(request)
}

function wantsDocument(request: FastifyRequest): boolean {
  const { headers } = request
  if (headers.upgrade || headers['x-requested-with'] || headers['hx-request'] || headers['turbo-frame']) return false
  if (isPrefetch(request)) return false
  const mode = headers['sec-fetch-mode']
  const dest = headers['sec-fetch-dest']
  if (mode !== undefined || dest !== undefined) return mode === 'navigate' && dest === 'document'
  return acceptsHtml(headers.accept)
}

/** Whether `text/html` is named and not refused; a bare wildcard is what programs send. */
export function acceptsHtml(accept: string | undefined): boolean {
  return (accept ?? '').split(',').some((range) => {
    const [type, ...params] = range.split(';').map((part) => part.trim().toLowerCase())
    return type === 'text/html' && !params.some((param) => /^q=0(\.0*)?$/.test(param))
  })
}

/** Adds the headers above to whatever `Vary` says already. */
export function varyByNavigation(reply: FastifyReply): void {
  const present = String(reply.getHeader('vary') ?? '')
  if (present.trim() === '*') return
  const names = new Map(
    [...present.split(','), ...NAVIGATION_HEADERS]
      .map((n) => n.trim())
      .filter(Boolean)
      .map((n) => [n.toLowerCase(), n]),
  )
  reply.header('vary', [...names.values()].join(', '))
}
