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
import { bindingIn, clientsIn, linkIn, withBinding, withLink } from './link-text.js'

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

/** How a person signed in to one account, in this browser, as the ID token of that sign-in told it. */
export interface Proof {
  /** Digest of the account's id. */
  readonly account: string
  /** Seconds since the epoch. */
  readonly auth_time?: number
  readonly acr?: string
}

/** What we keep in the session for one client. No token, unless `storage` is `'session'`, and then sealed. */
export interface SessionLink {
  /** Opaque, minted at each sign-in. */
  readonly id: string
  /** The user key: who is signed in through this client. */
  readonly user?: string
  /** The person at the provider, where that is not the user. */
  readonly sub?: string
  /** Digest of the session at the provider, where the ID token named one. */
  readonly sid?: string
  /** When the flow that made it began, in milliseconds since the epoch. */
  readonly at?: number
  /** What the person proved in this session, newest first: one for each account whose ID token said anything. */
  readonly proofs?: readonly Proof[]
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
/** Where links and the binding are, as one text. */
const TEXT = 'oauth2client'
/** Where else something of ours is: sealed credentials, by client, and what waits for its person. */
const PREFIX = `${TEXT}:`
// No client can have a name with a dot in front: names are identifiers.
const RESERVED = `${PREFIX}.`
const asideKey = (kind: Aside, client: string) => `${RESERVED}${kind}.${client}`
const credentialsKey = (client: string) => `${PREFIX}credentials.${client}`
const isOurs = (key: string) => key === TEXT || key.startsWith(PREFIX)

/** @throws {SessionRequiredError} that says which of the possible mistakes was made; status 400 where it was the request's */
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
    if (isOdd(request)) throw oddTarget()
    throw new SessionRequiredError("the session cookie's path does not cover this route. Set its path to '/'.")
  }
  return session as SessionLike
}

/**
 * Whether the target is another spelling of the route (with a host in front, or characters encoded that need not be). Routers
 * understand those; `@fastify/session` compares the path of its cookie with what was sent.
 */
function isOdd({ raw, routeOptions }: FastifyRequest): boolean {
  const [fixed = '/'] = (routeOptions.url ?? '/').split(/[:*]/)
  return !raw.url?.startsWith(fixed)
}

function oddTarget(): Error {
  const error = new SessionRequiredError(
    'the target of this request is not the plain path of the route, as in "GET /path HTTP/1.1".',
  )
  return Object.assign(error, { statusCode: 400 })
}

/**
 * Has the response leave the session as it is. To a request that came without the session's cookie the plugin gives a new
 * session, whose cookie would take the place of the one that is there.
 */
export function leaveSession(request: FastifyRequest): void {
  ;(request as { session?: unknown }).session = { get: () => undefined, set: () => undefined }
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
  const session = (request as { session?: unknown }).session as Partial<SessionLike> | null | undefined
  // Every member of a session that is a Proxy has its price: this one is asked for once.
  const get = session?.get
  const text = (typeof get === 'function' ? get : sessionOf(request).get).call(session, TEXT)
  const found = typeof text === 'string' ? linkIn(text, client) : undefined
  if (!found?.kept) return found
  const { kept: _, ...link } = found
  const credentials = sessionOf(request).get(credentialsKey(client))
  return typeof credentials === 'string' ? { ...link, credentials } : link
}

/** Whether the session is encrypted as a whole, as that of `@fastify/secure-session` is. */
export function isEncrypted(request: FastifyRequest): boolean {
  return sessionOf(request).data !== undefined
}

/** Names of the clients that somebody is signed in through. */
export function linkedClients(request: FastifyRequest): string[] {
  return clientsIn(textOf(sessionOf(request)))
}

/** @throws {SessionTooLargeError} when a cookie cannot hold it; the session is then as it was */
export function writeLink(request: FastifyRequest, client: string, link: SessionLink | undefined): void {
  const session = sessionOf(request)
  const before = { text: textOf(session), credentials: session.get(credentialsKey(client)) }
  const { credentials, ...rest } = link ?? {}
  const put = (text: string, sealed: unknown) => {
    session.set(TEXT, text)
    if (session.get(credentialsKey(client)) !== sealed) session.set(credentialsKey(client), sealed)
  }
  const written = (done: SessionLink['done']) =>
    withLink(
      before.text,
      client,
      link && { ...(rest as SessionLink), done: done ?? [], kept: credentials !== undefined },
    )
  put(written(link?.done), credentials)
  const size = cookieSize(request)
  if (!link || size === 0) return
  // What is for convenience leaves the room in a cookie to the app, and goes first where there is none.
  put(written(fitting(link.done ?? [], size <= COOKIE_LIMIT ? DONE_LIMIT : 0)), credentials)
  if (credentials === undefined || cookieSize(request) <= COOKIE_LIMIT) return
  put(before.text, before.credentials)
  throw new SessionTooLargeError()
}

function textOf(session: SessionLike): string {
  const text = session.get(TEXT)
  return typeof text === 'string' ? text : ''
}

function fitting(done: NonNullable<SessionLink['done']>, limit: number): typeof done {
  let room = limit
  return done.filter((entry) => {
    room -= JSON.stringify(entry).length
    return room >= 0
  })
}

/** What waits for its person, sealed: an account to be confirmed, or a form to be posted again. */
export type Aside = 'pending' | 'form'

export function readAside(request: FastifyRequest, kind: Aside, client: string): string | undefined {
  const value = sessionOf(request).get(asideKey(kind, client))
  return typeof value === 'string' ? value : undefined
}

export function writeAside(request: FastifyRequest, kind: Aside, client: string, sealed: string | undefined): void {
  sessionOf(request).set(asideKey(kind, client), sealed)
}

/** A random value that stays with the session when its id changes, and goes when the person behind it does. */
export function readBinding(request: FastifyRequest): string | undefined {
  return bindingIn(textOf(sessionOf(request)))
}

/** @param now when a new one is made, in milliseconds since the epoch */
export function ensureBinding(request: FastifyRequest, now: number): string {
  const existing = readBinding(request)
  if (existing !== undefined) return existing
  const binding = `${randomBytes(16).toString('base64url')}.${Math.floor(now).toString(36)}`
  const session = sessionOf(request)
  session.set(TEXT, withBinding(textOf(session), binding))
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
