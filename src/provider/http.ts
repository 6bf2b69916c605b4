/**
 * The only outbound HTTP to providers: one deadline and one size limit for every call, no redirects, and a note of what
 * the token endpoint said. Called by `openid-client` for us, and by presets that ask for an identity.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { CustomFetchOptions } from 'openid-client'

/** The shape of the global `fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** What one exchange with a provider brought, whatever the protocol library made of it. */
export interface Exchange {
  /** What messages call it. Default `token request`. */
  readonly what?: string
  /** Rewrites a JSON answer of the token endpoint before it is judged: a provider's deviations, as data. */
  readonly normalize?: ((body: Record<string, unknown>) => Record<string, unknown>) | undefined
  /** Fields of the form that is sent which the protocol library would not send as they are. */
  readonly form?: Readonly<Record<string, string>> | undefined
  /** Ends the exchange before its deadline. */
  readonly signal?: AbortSignal | undefined
  status?: number
  retryAfter?: number
  challenge?: string
  body?: Record<string, unknown>
  /** Whether the connection was made, so that the request may have had an effect. */
  sent?: boolean
}

/** Answers of providers are small; anything larger is a mistake or an attack. Counted after decompression. */
const MAXIMUM_BYTES = 1024 * 1024

/** Seconds. Nobody is told to come back later than that, whatever a provider says. */
const LONGEST_WAIT = 3_600

const exchanges = new AsyncLocalStorage<{ exchange: Exchange | undefined }>()

/** Runs `use` so that `exchange` afterwards tells what the provider answered. */
export async function observeExchange<T>(exchange: Exchange, use: () => Promise<T>): Promise<T> {
  const current: { exchange: Exchange | undefined } = { exchange }
  try {
    return await exchanges.run(current, use)
  } finally {
    // A connection that was opened in here keeps what was current then for as long as it lives: not the tokens as well.
    current.exchange = undefined
  }
}

/** The same `fetch` for a server that reads JSON where RFC 6749 has form fields. */
export function jsonRequests(fetch: Fetch): Fetch {
  return (input, init) => {
    if (!(init?.body instanceof URLSearchParams)) return fetch(input, init)
    const headers = { ...Object.fromEntries(new Headers(init.headers)), 'content-type': 'application/json' }
    return fetch(input, { ...init, headers, body: JSON.stringify(Object.fromEntries(init.body)) })
  }
}

/** Thrown in place of an answer that is larger than any honest one. */
export class ResponseTooLargeError extends Error {
  constructor() {
    super(`the answer is larger than ${MAXIMUM_BYTES} bytes`)
  }
}

/** A `fetch` for `openid-client` with our limits. `timeout` is in milliseconds and covers the body. */
export function boundedFetch(
  fetch: Fetch,
  timeout: number,
): (url: string, init: CustomFetchOptions) => Promise<Response> {
  return async (url, init) => {
    // A key set may be fetched in the middle of an exchange; only the exchange itself is noted.
    const exchange = init.method === 'POST' ? exchanges.getStore()?.exchange : undefined
    const deadline = AbortSignal.timeout(timeout)
    const signals = [deadline, init.signal, exchange?.signal].filter((one) => one !== undefined && one !== null)
    const signal = AbortSignal.any(signals)
    if (exchange?.form && init.body instanceof URLSearchParams) {
      for (const [name, value] of Object.entries(exchange.form)) init.body.set(name, value)
    }
    if (exchange) exchange.sent = true
    let response: Response
    try {
      response = await fetch(url, { ...(init as RequestInit), redirect: 'manual', signal })
    } catch (error) {
      if (exchange && neverConnected(error)) exchange.sent = false
      throw error
    }
    let bytes = await readBounded(response)
    if (exchange) {
      exchange.status = response.status
      const challenge = response.headers.get('www-authenticate')
      if (challenge) exchange.challenge = challenge
      const retryAfter = readRetryAfter(response.headers.get('retry-after'))
      if (retryAfter !== undefined) exchange.retryAfter = retryAfter
      const body = parseObject(bytes)
      if (body) {
        exchange.body = exchange.normalize ? exchange.normalize(body) : body
        if (exchange.body !== body) bytes = Buffer.from(JSON.stringify(exchange.body))
      }
    }
    const headers = new Headers(response.headers)
    // The body is decoded and complete by now; these would describe something else.
    headers.delete('content-encoding')
    headers.delete('content-length')
    const bodyless = response.status === 204 || response.status === 205 || response.status === 304
    return new Response(bodyless ? null : (bytes as Uint8Array<ArrayBuffer>), { status: response.status, headers })
  }
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MAXIMUM_BYTES) throw new ResponseTooLargeError()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Seconds, whichever of the two forms of RFC 9110 section 10.2.3 was used. */
function readRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined
  const seconds = /^\s*\d+\s*$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return seconds >= 0 ? Math.min(Math.ceil(seconds), LONGEST_WAIT) : undefined
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

// Only what fails before a byte of the request can have left counts: everything else may have reached the provider.
const BEFORE_SENDING = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

function neverConnected(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    const code = (e as { code?: unknown }).code
    if (
      typeof code === 'string' &&
      (BEFORE_SENDING.has(code) || code.startsWith('ERR_TLS') || code.startsWith('CERT_'))
    ) {
      return true
    }
    // A host name with several addresses fails with all of their errors at once.
    if (e instanceof AggregateError) return e.errors.every(neverConnected)
  }
  return false
}

/** Whether a host name is this machine: the only place where plain HTTP is acceptable. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  )
}

/** Whether a URL may carry secrets: HTTPS, or HTTP to this machine. */
export function isSecureUrl(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}
