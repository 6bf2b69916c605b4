/**
 * The only outbound HTTP to providers: one deadline and one size limit for every call, no redirects, and a note of what
 * the token endpoint said. Called by `openid-client` for us, and by presets that ask for an identity.
 */
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
  /** What proves with each request that we have the key which tokens are bound to. */
  readonly proofs?: Proofs | undefined
  status?: number
  retryAfter?: number
  challenge?: string
  body?: Record<string, unknown>
  /** What came in the place of a JSON object: in our words, because theirs may hold anything. */
  instead?: string
  /** Whether the connection was made, so that the request may have had an effect. */
  sent?: boolean
}

/** Proofs of possession for the requests of one exchange. RFC 9449. */
export interface Proofs {
  sign(url: string): Promise<string>
  /** Told of every answer, which may say what the next proof has to hold. */
  note(url: string, headers: Headers): void
}

/** Answers of providers are small; anything larger is a mistake or an attack. Counted after decompression. */
const MAXIMUM_BYTES = 1024 * 1024

/** Seconds. Nobody is told to come back later than that, whatever a provider says. */
const LONGEST_WAIT = 3_600

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

/**
 * A `fetch` for `openid-client` with our limits.
 *
 * @param timeout milliseconds, which cover the body
 * @param current the exchange that a request belongs to
 */
export function boundedFetch(
  fetch: Fetch,
  timeout: number,
  current?: () => Exchange | undefined,
): (url: string, init: CustomFetchOptions) => Promise<Response> {
  return async (url, init) => {
    const deadline = startDeadline(timeout)
    try {
      return await send(fetch, url, init, deadline.signal, current?.())
    } finally {
      deadline.end()
    }
  }
}

/**
 * A deadline that ends with its request. That of `AbortSignal.timeout` keeps what was sent until its time is over, and that may be a
 * refresh token.
 *
 * @param timeout milliseconds
 */
export function startDeadline(timeout: number): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new DOMException('No answer in time', 'TimeoutError')), timeout)
  timer.unref()
  return { signal: controller.signal, end: () => clearTimeout(timer) }
}

async function send(
  fetch: Fetch,
  url: string,
  init: CustomFetchOptions,
  deadline: AbortSignal,
  observed: Exchange | undefined,
): Promise<Response> {
  // A key set may be fetched in the middle of an exchange; only the exchange itself is noted.
  const exchange = init.method === 'POST' ? observed : undefined
  const others = [init.signal, exchange?.signal].filter((one) => one !== undefined && one !== null)
  const signal = others.length > 0 ? AbortSignal.any([deadline, ...others]) : deadline
  if (exchange?.form && init.body instanceof URLSearchParams) {
    for (const [name, value] of Object.entries(exchange.form)) init.body.set(name, value)
  }
  if (exchange?.proofs) init.headers = { ...init.headers, dpop: await exchange.proofs.sign(url) }
  if (exchange) {
    exchange.sent = true
    // What is known afterwards is about this request, not about one that was made before it.
    for (const note of ['status', 'retryAfter', 'challenge', 'body'] as const) delete exchange[note]
  }
  let response: Response
  try {
    response = await fetch(url, { ...(init as RequestInit), redirect: 'manual', signal })
  } catch (error) {
    if (exchange && neverConnected(error)) exchange.sent = false
    throw error
  }
  let bytes: Uint8Array
  try {
    bytes = await readBounded(response)
  } catch (error) {
    // That an answer came is certain, and all that is to be known of it. One that broke off may still have been any other.
    if (exchange && error instanceof ResponseTooLargeError) {
      Object.assign(exchange, { status: response.status, instead: `more than ${MAXIMUM_BYTES} bytes` })
    }
    throw error
  }
  if (exchange) {
    exchange.status = response.status
    exchange.proofs?.note(url, response.headers)
    const challenge = response.headers.get('www-authenticate')
    if (challenge) exchange.challenge = challenge
    const retryAfter = readRetryAfter(response.headers.get('retry-after'))
    if (retryAfter !== undefined) exchange.retryAfter = retryAfter
    const body = parseObject(bytes)
    if (body) {
      exchange.body = exchange.normalize ? exchange.normalize(body) : body
      if (exchange.body !== body) bytes = Buffer.from(JSON.stringify(exchange.body))
    } else {
      exchange.instead = nameOf(bytes)
    }
  }
  const headers = new Headers(response.headers)
  // The body is decoded and complete by now; these would describe something else.
  headers.delete('content-encoding')
  headers.delete('content-length')
  const bodyless = response.status === 204 || response.status === 205 || response.status === 304
  return new Response(bodyless ? null : (bytes as Uint8Array<ArrayBuffer>), { status: response.status, headers })
}

async function readBounded(response: Response): Promise<Uint8Array> {
  // An answer that says how long it is cannot be longer, unless it was packed.
  const length = response.headers.get('content-length')
  if (/^\d+$/.test(length ?? '') && Number(length) <= MAXIMUM_BYTES && !response.headers.has('content-encoding')) {
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (bytes.byteLength > MAXIMUM_BYTES) throw new ResponseTooLargeError()
    return bytes
  }
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

/** What bytes that are no JSON object look like. */
function nameOf(bytes: Uint8Array): string {
  const start = new TextDecoder().decode(bytes.subarray(0, 256)).trimStart()
  if (start === '') return 'nothing'
  if (start.startsWith('<')) return 'HTML or XML'
  return /^[[{"\dtfn-]/.test(start) ? 'JSON that is broken, or no object' : 'no JSON'
}

// Only what fails before a byte of the request can have left counts: everything else may have reached the provider.
const BEFORE_SENDING = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_SSL_WRONG_VERSION_NUMBER',
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
