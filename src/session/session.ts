/**
 * The few things we need from a session, the same over `@fastify/session` and `@fastify/secure-session`. Neither is
 * imported: their declarations of `request.session` contradict each other, and an app has only one of them.
 *
 * Two rules come from how they work. A session object is fetched anew from the request each time, because it is replaced
 * when its id changes. And a value is always written whole, because changes inside of one may go unnoticed.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { SessionCookieError, SessionRequiredError, SessionTooLargeError, StoreUnavailableError } from '../errors.js'

/** What both plugins offer, and what only one does. */
interface SessionLike {
  get(key: string): unknown
  set(key: string, value: unknown): void
  regenerate(keep?: string[]): unknown
  /** `@fastify/secure-session` */
  data?(): Record<string, unknown>
  /** `@fastify/session` */
  save?(): Promise<void>
  cookie?: { secure?: unknown; sameSite?: unknown }
}

/** What we keep in the session for one client. No token, unless `storage` is `'session'`, and then sealed. */
export interface SessionLink {
  /** Opaque, minted at each sign-in. */
  readonly id: string
  /** The user key: who is signed in through this client. */
  readonly user?: string
  /** With `storage: 'session'`: the sealed record. */
  readonly credentials?: string
  /** Flows that ended in this session, so that their callback can be opened again: state hash and return URL. */
  readonly done?: readonly (readonly [hash: string, returnUrl: string])[]
}

/** Cookies larger than this are dropped by browsers without a word. */
const COOKIE_LIMIT = 4096
/** Characters of a cookie for flows that ended. */
const DONE_LIMIT = 600
/** Milliseconds that a response of the app may take to reach the browser and its session. */
const SETTLED_AFTER = 10_000
const PREFIX = 'oauth2client:'
// No client can have a name with a dot in front: names are identifiers.
const RESERVED = `${PREFIX}.`
const BINDING = `${RESERVED}binding`
const pendingKey = (client: string) => `${RESERVED}pending.${client}`
const linkKey = (client: string) => PREFIX + client
const isOurs = (key: string) => key.startsWith(PREFIX)

/** @throws {SessionRequiredError} that says which of the possible mistakes was made */
export function sessionOf(request: FastifyRequest): SessionLike {
  const session: unknown = (request as { session?: unknown }).session
  if (session === undefined) {
    throw new SessionRequiredError('register @fastify/session or @fastify/secure-session before fastify-oauth2client.')
  }
  if (session === null) {
    throw new SessionRequiredError(
      'it was destroyed in this request, or the session plugin has not run yet. Register the session plugin before fastify-oauth2client.',
    )
  }
  if (typeof (session as Partial<SessionLike>).get !== 'function') {
    throw new SessionRequiredError("the session cookie's path does not cover this route. Set its path to '/'.")
  }
  return session as SessionLike
}

/** @throws {SessionCookieError} when the cookie could not come back from the provider: better said now than as a loop */
export function checkSessionCookie(request: FastifyRequest): void {
  const { cookie } = sessionOf(request)
  if (!cookie) return
  if (cookie.secure === true && request.protocol !== 'https') {
    throw new SessionCookieError(
      'it is "secure", but this request came over HTTP, so it is never set. Behind a proxy that ends TLS, set trustProxy; for development, set cookie.secure to "auto".',
    )
  }
  if (cookie.sameSite === true || String(cookie.sameSite).toLowerCase() === 'strict') {
    throw new SessionCookieError(
      'with SameSite=Strict it is not sent when the provider sends people back. Set sameSite to "lax".',
    )
  }
}

export function readLink(request: FastifyRequest, client: string): SessionLink | undefined {
  const value = sessionOf(request).get(linkKey(client)) as SessionLink | undefined
  return typeof value?.id === 'string' ? value : undefined
}

/** Whether the session is encrypted as a whole, as that of `@fastify/secure-session` is. */
export function isEncrypted(request: FastifyRequest): boolean {
  return sessionOf(request).data !== undefined
}

/** Names of the clients that somebody is signed in through. */
export function linkedClients(request: FastifyRequest): string[] {
  const session = sessionOf(request)
  const links = keysOf(session, true).filter(
    (key) => isOurs(key) && !key.startsWith(RESERVED) && session.get(key) !== undefined,
  )
  return links.map((key) => key.slice(PREFIX.length))
}

/** @throws {SessionTooLargeError} when a cookie cannot hold it; the session is then as it was */
export function writeLink(request: FastifyRequest, client: string, link: SessionLink | undefined): void {
  const session = sessionOf(request)
  const before = session.get(linkKey(client))
  session.set(linkKey(client), link)
  const size = cookieSize(request)
  if (!link || size === 0) return
  // What is for convenience leaves the room in a cookie to the app, and goes first where there is none.
  const done = fitting(link.done ?? [], size <= COOKIE_LIMIT ? DONE_LIMIT : 0)
  session.set(linkKey(client), { ...link, done })
  if (link.credentials === undefined || cookieSize(request) <= COOKIE_LIMIT) return
  session.set(linkKey(client), before)
  throw new SessionTooLargeError()
}

function fitting(done: NonNullable<SessionLink['done']>, limit: number): typeof done {
  let room = limit
  return done.filter((entry) => {
    room -= JSON.stringify(entry).length
    return room >= 0
  })
}

/** What waits for the person to confirm it: sealed, and apart from what is confirmed. */
export function readPending(request: FastifyRequest, client: string): string | undefined {
  const value = sessionOf(request).get(pendingKey(client))
  return typeof value === 'string' ? value : undefined
}

export function writePending(request: FastifyRequest, client: string, sealed: string | undefined): void {
  sessionOf(request).set(pendingKey(client), sealed)
}

/** A random value that stays with the session when its id changes, and goes when the person behind it does. */
export function readBinding(request: FastifyRequest): string | undefined {
  const value = sessionOf(request).get(BINDING)
  return typeof value === 'string' ? value : undefined
}

/** @param now when a new one is made, in milliseconds since the epoch */
export function ensureBinding(request: FastifyRequest, now: number): string {
  const existing = readBinding(request)
  if (existing !== undefined) return existing
  const binding = `${randomBytes(16).toString('base64url')}.${Math.floor(now).toString(36)}`
  sessionOf(request).set(BINDING, binding)
  return binding
}

/** Whether requests that were under way when this binding was made may still write another one in its place. */
export function isFreshBinding(binding: string | undefined, now: number): boolean {
  return binding === undefined || now - Number.parseInt(binding.slice(binding.indexOf('.') + 1), 36) < SETTLED_AFTER
}

/** What the app itself keeps in the session. */
export function appData(request: FastifyRequest): Map<string, string | undefined> {
  const session = sessionOf(request)
  return new Map(keysOf(session).map((key) => [key, JSON.stringify(session.get(key))]))
}

/**
 * Gives the session a new id, so that whoever knew the old one knows nothing.
 *
 * @param keep whether a key of the app survives; ours do unless `keepOurs` is false
 */
export async function rotateSession(
  request: FastifyRequest,
  { keep, keepOurs }: { keep: (key: string) => boolean; keepOurs: boolean },
): Promise<void> {
  const session = sessionOf(request)
  const own = keysOf(session, true).filter(isOurs)
  const kept = [...keysOf(session).filter(keep), ...(keepOurs ? own : [])]
  try {
    await session.regenerate(kept)
  } catch (cause) {
    throw new StoreUnavailableError({ cause })
  }
}

/** Writes the session now, where that is possible, instead of when the response is sent. */
export async function persistSession(request: FastifyRequest): Promise<void> {
  try {
    await sessionOf(request).save?.()
  } catch (cause) {
    if (cause instanceof SessionRequiredError) throw cause
    throw new StoreUnavailableError({ cause })
  }
}

function keysOf(session: SessionLike, ours = false): string[] {
  const keys = session.data ? Object.keys(session.data()) : Object.keys(session).filter((key) => key !== 'cookie')
  return ours ? keys : keys.filter((key) => !isOurs(key))
}

function cookieSize(request: FastifyRequest): number {
  const { encodeSecureSession } = request.server as { encodeSecureSession?: (session: unknown) => string }
  if (!encodeSecureSession || !sessionOf(request).data) return 0
  // Room for the name and the attributes, which some browsers count too.
  return encodeURIComponent(encodeSecureSession(sessionOf(request))).length + 128
}
