export interface Cookie {
  readonly name: string
  readonly value: string
  readonly domain: string
  /** Set without a Domain attribute: goes to exactly this host. */
  readonly hostOnly: boolean
  readonly path: string
  /** ms since the epoch; undefined: until the browser is closed. */
  readonly expires: number | undefined
  readonly secure: boolean
  readonly httpOnly: boolean
  /** As set; undefined is treated as `lax`, as browsers do. */
  readonly sameSite: 'strict' | 'lax' | 'none' | undefined
}

export interface RejectedCookie {
  readonly url: string
  readonly header: string
  readonly reason: string
}

/** What SameSite depends on. */
export interface CookieContext {
  readonly crossSite: boolean
  /** A navigation with a safe method: cross-site ones still carry Lax cookies. */
  readonly safeNavigation: boolean
}

/** Browsers drop larger cookies without a word: the commonest way to lose a session that is kept in a cookie. */
const maxCookieSize = 4096

export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  )
}

/** The cookies of one browser profile. They belong to host names: other ports of the same host see them too. */
export class CookieJar {
  /** Cookies that a browser would have dropped silently, and why. */
  readonly rejected: RejectedCookie[] = []
  readonly #cookies = new Map<string, Cookie>()
  readonly #now: () => number

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Takes one Set-Cookie header. */
  receive(url: URL, header: string): void {
    const cookie = parseSetCookie(url, header, this.#now())
    const reason = typeof cookie === 'string' ? cookie : refusal(url, cookie)
    if (typeof cookie === 'string' || reason) this.rejected.push({ url: url.href, header, reason: reason ?? '' })
    else this.put(cookie)
  }

  put(cookie: Cookie): void {
    const key = JSON.stringify([cookie.domain, cookie.path, cookie.name])
    if (cookie.expires !== undefined && cookie.expires <= this.#now()) this.#cookies.delete(key)
    else this.#cookies.set(key, cookie)
  }

  /** Deletes it from every path. */
  delete(hostname: string, name: string): void {
    for (const [key, cookie] of this.#cookies) {
      if (cookie.name === name && domainMatches(hostname, cookie)) this.#cookies.delete(key)
    }
  }

  list(hostname: string): Cookie[] {
    return this.#live().filter((cookie) => domainMatches(hostname, cookie))
  }

  /** What goes into the Cookie header. */
  matching(url: URL, context: CookieContext): Cookie[] {
    return this.list(url.hostname)
      .filter((cookie) => pathMatches(url.pathname, cookie.path))
      .filter((cookie) => !cookie.secure || url.protocol === 'https:' || isLoopback(url.hostname))
      .filter((cookie) => {
        if (!context.crossSite || cookie.sameSite === 'none') return true
        return cookie.sameSite !== 'strict' && context.safeNavigation
      })
      .sort((a, b) => b.path.length - a.path.length)
  }

  copy(): CookieJar {
    const jar = new CookieJar(this.#now)
    for (const cookie of this.#live()) jar.put(cookie)
    return jar
  }

  #live(): Cookie[] {
    const now = this.#now()
    return [...this.#cookies.values()].filter(({ expires }) => expires === undefined || expires > now)
  }
}

/** The cookie, or why it is none. */
function parseSetCookie(url: URL, header: string, now: number): Cookie | string {
  const [pair = '', ...rest] = header.split(';')
  const equals = pair.indexOf('=')
  if (equals < 1) return 'no name'
  const attributes = new Map<string, string>()
  for (const attribute of rest) {
    const [name = '', ...value] = attribute.split('=')
    attributes.set(name.trim().toLowerCase(), value.join('=').trim())
  }
  const sameSite = attributes.get('samesite')?.toLowerCase()
  const path = attributes.get('path')
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase()
  return {
    name: pair.slice(0, equals).trim(),
    value: pair.slice(equals + 1).trim(),
    domain: domain || url.hostname,
    hostOnly: !domain,
    path: path?.startsWith('/') ? path : url.pathname.slice(0, url.pathname.lastIndexOf('/')) || '/',
    expires: expiry(attributes, now),
    secure: attributes.has('secure'),
    httpOnly: attributes.has('httponly'),
    sameSite: sameSite === 'strict' || sameSite === 'lax' || sameSite === 'none' ? sameSite : undefined,
  }
}

function expiry(attributes: Map<string, string>, now: number): number | undefined {
  const maxAge = attributes.get('max-age')
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return now + Number(maxAge) * 1000
  const expires = Date.parse(attributes.get('expires') ?? '')
  return Number.isNaN(expires) ? undefined : expires
}

function refusal(url: URL, cookie: Cookie): string | undefined {
  const trustworthy = url.protocol === 'https:' || isLoopback(url.hostname)
  if (Buffer.byteLength(cookie.name + cookie.value) > maxCookieSize) return `larger than ${maxCookieSize} bytes`
  if (!cookie.hostOnly && !domainMatches(url.hostname, cookie)) return 'Domain of another host'
  if (cookie.secure && !trustworthy) return 'Secure over plain http'
  if (cookie.sameSite === 'none' && !cookie.secure) return 'SameSite=None without Secure'
  if (/^__Secure-/i.test(cookie.name) && !cookie.secure) return '__Secure- without Secure'
  if (/^__Host-/i.test(cookie.name) && !(cookie.secure && cookie.hostOnly && cookie.path === '/')) {
    return '__Host- needs Secure, Path=/ and no Domain'
  }
  return undefined
}

function domainMatches(hostname: string, cookie: Cookie): boolean {
  return hostname === cookie.domain || (!cookie.hostOnly && hostname.endsWith(`.${cookie.domain}`))
}

function pathMatches(pathname: string, path: string): boolean {
  return pathname === path || (pathname.startsWith(path) && (path.endsWith('/') || pathname[path.length] === '/'))
}
