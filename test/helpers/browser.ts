import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type Cookie, CookieJar, isLoopback, type RejectedCookie } from './cookie-jar.js'
import { type Form, formEntries, type Overrides, parseForms } from './html-forms.js'

export type { Cookie, Form, Overrides, RejectedCookie }

/** Extra or other headers; null leaves a default one out (a browser without Sec-Fetch-* headers, for instance). */
export type HeaderOverrides = Record<string, string | null>

export interface Hop {
  readonly url: string
  readonly status: number
  readonly location: string | null
}

export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly body: string
  /** Where it redirects to, absolute; null if nowhere. */
  readonly location: string | null
  /** Every response on the way here, this one last. */
  readonly chain: Hop[]
  readonly forms: Form[]
  // biome-ignore lint/suspicious/noExplicitAny: tests look at answers of any shape
  json<T = any>(): T
}

/** One response, as it came over the wire. */
export interface LogEntry {
  readonly method: string
  readonly url: string
  readonly requestHeaders: Record<string, string>
  readonly status: number
  readonly headers: [name: string, value: string][]
  readonly body: string
}

export interface BrowserOptions {
  /** For every request of this browser. */
  headers?: HeaderOverrides
  /** Of the cookies' lifetimes. */
  clock?: () => number
  /** ms for one response. */
  timeout?: number
  /** The authority whose certificates are trusted. Without it there is no HTTPS. */
  ca?: string
  /** A proxy between browser and server: where a request really goes, and what the proxy adds to it. */
  via?: (url: URL) => { url: URL | string; headers?: Record<string, string> } | undefined
}

export interface NavigateOptions {
  headers?: HeaderOverrides
  /** The page whose link was followed; without it, the person typed the address. */
  from?: Page | string
  /** Ends a navigation before this URL is requested: the redirecting response is the page then. */
  stopAt?: (url: URL) => boolean
}

export interface StepOptions extends NavigateOptions {
  method?: string
}

export interface SubmitOptions {
  headers?: HeaderOverrides
  /** Its index, name, value or text; the first one by default. */
  button?: number | string
  stopAt?: (url: URL) => boolean
}

export interface XhrOptions {
  method?: string
  headers?: HeaderOverrides
  /** Objects are sent as JSON. */
  body?: string | URLSearchParams | object
  /** The page whose script asks; a page of the same origin by default. */
  from?: Page | string
  signal?: AbortSignal
}

interface Outgoing {
  method: string
  url: URL
  body: string | undefined
  headers: Record<string, string | null>
  /** Where the request comes from; undefined: from the address bar. */
  initiator: URL | undefined
  /** All URLs of a chain of redirects: one cross-site hop makes the rest of it cross-site. */
  urls: URL[]
  navigation: boolean
  signal: AbortSignal | undefined
}

const maxRedirects = 20

/**
 * A user agent over real HTTP that keeps cookies, follows redirects and says what it does in Sec-Fetch-* headers, as
 * browsers do. It stands on node:http, since `fetch` always claims `Sec-Fetch-Mode: cors`.
 *
 * Two tabs are two pages of one Browser. Another person, or a thief, is another Browser; `clone()` steals the cookies.
 */
export class Browser {
  readonly log: LogEntry[] = []
  readonly #options: BrowserOptions
  #jar: CookieJar

  constructor(options: BrowserOptions = {}) {
    this.#options = options
    this.#jar = new CookieJar(options.clock)
  }

  /** Opens a URL as a navigation and follows redirects. */
  async goto(target: string | URL, options: NavigateOptions = {}): Promise<Page> {
    return this.#follow(this.#navigation('GET', target, options), options.stopAt)
  }

  /** A navigation of one hop: the redirect is not followed. */
  async step(target: string | URL, options: StepOptions = {}): Promise<Page> {
    return this.#follow(this.#navigation(options.method ?? 'GET', target, options), () => true)
  }

  /** Presses a button of a form and follows redirects. */
  async submit(page: Page, formIndex = 0, overrides: Overrides = {}, options: SubmitOptions = {}): Promise<Page> {
    const form = page.forms[formIndex]
    if (!form) throw new Error(`no form ${formIndex} on ${page.url} (${page.status}): ${page.body.slice(0, 300)}`)
    const wanted = options.button ?? 0
    const button =
      typeof wanted === 'number'
        ? form.buttons[wanted]
        : form.buttons.find(({ name, value, text }) => [name, value, text].includes(wanted))
    if (options.button !== undefined && !button) throw new Error(`no button ${wanted} in form ${formIndex}`)
    const entries = formEntries(form, overrides, button)
    const url = new URL(button?.action || form.action || page.url, page.url)
    const navigation = { headers: options.headers ?? {}, from: page }
    if (form.method === 'GET') {
      url.search = entries.toString()
      return this.#follow(this.#navigation('GET', url, navigation), options.stopAt)
    }
    const outgoing = this.#navigation('POST', url, navigation)
    outgoing.body = entries.toString()
    // A page that sends no referrer sends no origin with its forms either.
    const hidden = page.headers.get('referrer-policy')?.trim() === 'no-referrer'
    outgoing.headers = {
      'content-type': 'application/x-www-form-urlencoded',
      origin: hidden ? 'null' : new URL(page.url).origin,
      ...outgoing.headers,
    }
    return this.#follow(outgoing, options.stopAt)
  }

  /** A request by a script of a page; redirects are not followed. */
  async xhr(target: string | URL, options: XhrOptions = {}): Promise<Page> {
    const url = new URL(target, urlOf(options.from))
    const initiator = urlOf(options.from) ?? url
    const method = (options.method ?? 'GET').toUpperCase()
    const { body } = options
    const json = typeof body === 'object' && !(body instanceof URLSearchParams)
    const form = body instanceof URLSearchParams
    const readOnly = method === 'GET' || method === 'HEAD'
    const outgoing: Outgoing = {
      method,
      url,
      body: body === undefined ? undefined : json ? JSON.stringify(body) : String(body),
      headers: {
        accept: 'application/json',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'empty',
        ...(json && { 'content-type': 'application/json' }),
        ...(form && { 'content-type': 'application/x-www-form-urlencoded' }),
        ...((!readOnly || initiator.origin !== url.origin) && { origin: initiator.origin }),
        ...lowerCased(this.#options.headers),
        ...lowerCased(options.headers),
      },
      initiator,
      urls: [url],
      navigation: false,
      signal: options.signal,
    }
    return this.#follow(outgoing, () => true)
  }

  cookies(hostname = 'localhost'): Cookie[] {
    return this.#jar.list(hostname)
  }

  /** What `document.cookie` shows a script on that page. */
  scriptCookies(url: string | URL): string {
    const cookies = this.#jar.matching(new URL(url), { crossSite: false, safeNavigation: true })
    return cookieHeader(cookies.filter(({ httpOnly }) => !httpOnly))
  }

  /** Plants a cookie as it is, without a server's say. */
  setCookie(hostname: string, cookie: { name: string; value: string } & Partial<Cookie>): void {
    this.#jar.put({
      domain: hostname,
      hostOnly: true,
      path: '/',
      expires: undefined,
      secure: false,
      httpOnly: true,
      sameSite: 'lax',
      ...cookie,
    })
  }

  deleteCookie(hostname: string, name: string): void {
    this.#jar.delete(hostname, name)
  }

  /** Cookies that servers set and that a browser would have dropped silently. */
  get rejectedCookies(): readonly RejectedCookie[] {
    return this.#jar.rejected
  }

  /** Another browser with a copy of the cookies, and a log of its own. */
  clone(): Browser {
    const browser = new Browser(this.#options)
    browser.#jar = this.#jar.copy()
    return browser
  }

  /** Statuses, headers and bodies of the log, as one text to search in. */
  received(where: (entry: LogEntry) => boolean = () => true): string {
    return this.log
      .filter(where)
      .map(({ status, headers, body }) => [status, ...headers.map((pair) => pair.join(': ')), '', body].join('\n'))
      .join('\n\n')
  }

  #navigation(method: string, target: string | URL, options: NavigateOptions): Outgoing {
    const initiator = urlOf(options.from)
    const url = new URL(target, initiator)
    return {
      method,
      url,
      body: undefined,
      headers: {
        accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
        'accept-language': 'en',
        'upgrade-insecure-requests': '1',
        'user-agent': 'Mozilla/5.0 (test browser)',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'document',
        'sec-fetch-user': '?1',
        ...lowerCased(this.#options.headers),
        ...lowerCased(options.headers),
      },
      initiator,
      urls: [url],
      navigation: true,
      signal: undefined,
    }
  }

  async #follow(first: Outgoing, stopAt: (url: URL) => boolean = () => false): Promise<Page> {
    const chain: Hop[] = []
    let outgoing = first
    for (;;) {
      const { response, body } = await this.#send(outgoing, chain)
      const headers = new Headers()
      for (const [name, value] of rawHeaders(response)) headers.append(name, value)
      const status = response.statusCode ?? 0
      const target = headers.get('location')
      const next = target !== null && status >= 300 && status < 400 ? new URL(target, outgoing.url) : undefined
      chain.push({ url: outgoing.url.href, status, location: next?.href ?? null })
      if (!next || stopAt(next)) return makePage(outgoing.url, status, headers, body, chain)
      if (chain.length > maxRedirects) throw new Error(`more than ${maxRedirects} redirects:\n${describeChain(chain)}`)
      outgoing = redirected(outgoing, status, next)
    }
  }

  async #send(outgoing: Outgoing, chain: Hop[]): Promise<{ response: IncomingMessage; body: string }> {
    const { url, method } = outgoing
    const site = fetchSite(outgoing)
    const cookies = this.#jar.matching(url, {
      crossSite: site === 'cross-site',
      safeNavigation: outgoing.navigation && (method === 'GET' || method === 'HEAD'),
    })
    const via = this.#options.via?.(url)
    const requestHeaders = withoutNull({
      host: url.host,
      'sec-fetch-site': site,
      ...(cookies.length > 0 && { cookie: cookieHeader(cookies) }),
      ...outgoing.headers,
      ...via?.headers,
    })
    try {
      const { response, body } = await transfer(
        new URL(via?.url ?? url),
        method,
        requestHeaders,
        outgoing.body,
        this.#options.timeout ?? 10_000,
        outgoing.signal,
        this.#options.ca,
      )
      const headers = rawHeaders(response)
      this.log.push({ method, url: url.href, requestHeaders, status: response.statusCode ?? 0, headers, body })
      for (const header of response.headers['set-cookie'] ?? []) this.#jar.receive(url, header)
      return { response, body }
    } catch (cause) {
      const before = chain.length > 0 ? ` after\n${describeChain(chain)}` : ''
      throw new Error(`${method} ${url.href} failed: ${cause instanceof Error ? cause.message : cause}${before}`, {
        cause,
      })
    }
  }
}

function makePage(url: URL, status: number, headers: Headers, body: string, chain: Hop[]): Page {
  return {
    url: url.href,
    status,
    headers,
    body,
    location: chain.at(-1)?.location ?? null,
    chain,
    forms: headers.get('content-type')?.includes('html') ? parseForms(body) : [],
    json: () => JSON.parse(body),
  }
}

function redirected(outgoing: Outgoing, status: number, url: URL): Outgoing {
  if (!url.hash) url.hash = outgoing.url.hash
  const next = { ...outgoing, url, urls: [...outgoing.urls, url] }
  if (status === 307 || status === 308 || (status !== 303 && outgoing.method !== 'POST')) return next
  const { 'content-type': _type, origin: _origin, ...headers } = outgoing.headers
  return { ...next, method: outgoing.method === 'HEAD' ? 'HEAD' : 'GET', body: undefined, headers }
}

/** Fetch Metadata: how the request's initiator relates to every URL on the way. */
function fetchSite({ initiator, urls }: Outgoing): 'none' | 'same-origin' | 'same-site' | 'cross-site' {
  if (!initiator) return 'none'
  if (urls.every(({ origin }) => origin === initiator.origin)) return 'same-origin'
  return urls.every((url) => siteOf(url) === siteOf(initiator)) ? 'same-site' : 'cross-site'
}

/** Scheme and registrable domain; without the public suffix list, two labels have to do. Ports are no part of it. */
function siteOf({ protocol, hostname }: URL): string {
  const domain = /^[\d.]+$|^\[/.test(hostname) ? hostname : hostname.split('.').slice(-2).join('.')
  return `${protocol}//${domain}`
}

function transfer(
  url: URL,
  method: string,
  headers: Record<string, string>,
  body: string | undefined,
  timeout: number,
  signal: AbortSignal | undefined,
  ca: string | undefined,
): Promise<{ response: IncomingMessage; body: string }> {
  // A test that wanders off to a real provider would be slow, flaky and rude.
  const secure = url.protocol === 'https:' && ca !== undefined
  if ((url.protocol !== 'http:' && !secure) || !isLoopback(url.hostname)) {
    throw new Error('only http to this machine is possible, and https with a ca')
  }
  return new Promise((resolve, reject) => {
    // A connection for each request: none is left over that keeps a server from closing.
    const options = { method, headers, agent: false as const, ...(signal && { signal }) }
    const request = secure ? httpsRequest(url, { ...options, ca }) : httpRequest(url, options)
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeout} ms`)), timeout)
    request.on('close', () => clearTimeout(timer))
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => resolve({ response, body: Buffer.concat(chunks).toString() }))
    })
    if (body === undefined) request.end()
    else request.setHeader('content-length', Buffer.byteLength(body)).end(body)
  })
}

function rawHeaders({ rawHeaders }: IncomingMessage): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) pairs.push([rawHeaders[i]!, rawHeaders[i + 1]!])
  return pairs
}

function cookieHeader(cookies: Cookie[]): string {
  return cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
}

function describeChain(chain: Hop[]): string {
  return chain.map(({ url, status, location }) => `  ${status} ${url}${location ? ` -> ${location}` : ''}`).join('\n')
}

function urlOf(from: Page | string | undefined): URL | undefined {
  if (from === undefined) return undefined
  return new URL(typeof from === 'string' ? from : from.url)
}

function lowerCased(headers: HeaderOverrides = {}): HeaderOverrides {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function withoutNull(headers: Record<string, string | null>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter((pair): pair is [string, string] => pair[1] !== null))
}
