/** One registration of the plugin: its options, and everything that lives as long as the app does. */

import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { EndedLinks } from './credentials/ended-links.js'
import { CredentialManager, checkKey } from './credentials/manager.js'
import { type SignIns, StoredSignIns } from './credentials/sign-ins.js'
import { RecordSealer } from './credentials/vault.js'
import { OptionError } from './errors.js'
import type { ResolvedOptions } from './options.js'
import { isLoopback } from './provider/http.js'
import { isPosted } from './provider/profile.js'
import { checkRegistered } from './resolve-redirect.js'
import { AnswerCookies } from './session/answer-cookie.js'
import { Completions } from './session/completions.js'
import { CookieJar } from './session/cookies.js'
import { FlowCookies } from './session/flow-cookie.js'
import { HeldForms } from './session/held-forms.js'
import { LogoutCookie } from './session/logout-cookie.js'
import { OutcomeCookie } from './session/outcome-cookie.js'
import { PendingLinks } from './session/pending-links.js'
import { comparable, parseReturnUrl } from './session/return-url.js'
import { SeenTokens } from './session/seen-tokens.js'
import { readLink, type SessionLink } from './session/session.js'
import { TestSignIns } from './session/test-sign-ins.js'
import { SessionStorage } from './storage/session-storage.js'

export class Client {
  readonly options: ResolvedOptions
  readonly manager: CredentialManager
  readonly sessionStorage: SessionStorage
  readonly cookies: CookieJar
  readonly flowCookies: FlowCookies
  readonly answers: AnswerCookies
  readonly outcome: OutcomeCookie
  readonly completions: Completions
  readonly pendingLinks: PendingLinks
  readonly signIns: SignIns
  readonly logoutCookie: LogoutCookie
  readonly seenTokens: SeenTokens
  readonly heldForms: HeldForms
  /** Scopes that a bare `?scope=` may ask for: those of the options, and of every guard seen so far. */
  readonly declaredScopes: Set<string>
  readonly testSignIns = new TestSignIns()
  /** Where nobody is sent back to. */
  readonly #avoided: ReadonlySet<string>

  constructor(options: ResolvedOptions) {
    this.options = options
    const { provider, keys, clock, name, store } = options
    this.id = `${name}.${createHash('sha256').update(provider.issuer).digest('base64url').slice(0, 16)}`
    const secure = options.baseUrl?.protocol === 'https:'
    this.cookies = new CookieJar(secure)
    this.manager = new CredentialManager(options.registration)
    this.sessionStorage = new SessionStorage(
      new RecordSealer(options.sessionKeys, provider.issuer, provider.clientId),
      clock,
    )
    this.flowCookies = new FlowCookies(keys, new CookieJar(secure, isPosted(provider.profile.responseMode)), clock)
    this.answers = new AnswerCookies(this.id, keys, this.cookies, clock)
    this.outcome = new OutcomeCookie(keys, this.cookies, clock, this.id)
    this.completions = new Completions(this.id, store, keys, clock)
    this.pendingLinks = new PendingLinks(this.id, store, keys, this.cookies, clock)
    const subjectsAreUsers = !options.userKey && !options.resolveUser
    this.signIns = store
      ? new StoredSignIns(this.manager, { indexed: options.backchannelLogout, subjectsAreUsers })
      : new EndedLinks(name, clock, subjectsAreUsers)
    this.logoutCookie = new LogoutCookie(keys, this.cookies, clock, this.id)
    this.seenTokens = new SeenTokens(this.id, store, clock)
    this.heldForms = new HeldForms(this.id, store, keys, this.cookies, clock)
    this.declaredScopes = new Set([...options.scopes, ...options.optionalScopes])
    const { authorizePath, callbackPath, logoutPath } = options
    // Not `resumePath`: flows of forms end there, and a reload of their callback asks for it again. A stranger gains nothing by it.
    const own = [authorizePath, callbackPath, logoutPath, this.confirmPath, this.backchannelPath]
    this.#avoided = new Set([...own, ...own.map((path) => this.publicPrefix + path)].map(comparable))
  }

  /**
   * The name and the provider. Two contexts may both have a client of one name, at providers that both know somebody by the
   * same identity. Another registration at the same provider is told apart by what is stored, which says so.
   */
  readonly id: string

  get name(): string {
    return this.options.name
  }

  /** It hangs on `fastify[name]`, which is printed now and then; the client's secret is in here. */
  [inspect.custom](): string {
    return `Client ${this.name}`
  }

  /** The path that browsers see before ours, where a proxy strips one. */
  get publicPrefix(): string {
    return this.options.baseUrl?.pathname.replace(/\/+$/, '') ?? ''
  }

  /** The path of the authorize route as browsers see it. */
  get authorizePath(): string {
    return this.publicPrefix + this.options.authorizePath
  }

  /** Where the provider tells of logouts, as Fastify knows it. */
  get backchannelPath(): string {
    return `${this.options.logoutPath.replace(/\/$/, '')}/backchannel`
  }

  /** Where a person confirms an account, as Fastify knows it. */
  get confirmPath(): string {
    return `${this.options.callbackPath.replace(/\/$/, '')}/confirm`
  }

  /** Where a person sees the form again that they posted, as Fastify knows it. */
  get resumePath(): string {
    return `${this.options.callbackPath.replace(/\/$/, '')}/resume`
  }

  /**
   * Where the provider sends people back to. Taken from the options; from the request only on this very machine.
   *
   * @throws {OptionError} when it would have to be guessed from what a stranger can set
   */
  redirectUri(request: FastifyRequest): string {
    const { redirectUri, callbackPath, clientSecrets } = this.options
    if (redirectUri !== undefined) return redirectUri
    // From the header itself: `request.host` may come from a proxy's headers, which anybody can send where there is none.
    const host = request.raw.headers.host ?? String(request.raw.headers[':authority'] ?? '')
    const url = /^[\w.[\]:-]+$/.test(host) && URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined
    if (!url || !isLoopback(url.hostname)) {
      throw new OptionError('baseUrl', 'is required: the public origin of the app, such as "https://app.example.com".')
    }
    const derived = url.origin + callbackPath
    checkRegistered(derived, clientSecrets)
    return derived
  }

  /**
   * Where the provider sends people after they signed out there.
   *
   * @throws {OptionError} as for `redirectUri`
   */
  postLogoutRedirectUri(request: FastifyRequest): string {
    const { postLogoutRedirectUri, callbackPath, logoutPath } = this.options
    return postLogoutRedirectUri ?? this.redirectUri(request).slice(0, -callbackPath.length) + logoutPath
  }

  /**
   * Where to send a person back to: the first of the candidates that is a path of this app as browsers see it and not one of
   * our own routes, or else the app's front page.
   */
  returnUrl(...candidates: readonly unknown[]): string {
    for (const candidate of candidates) {
      const path = parseReturnUrl(candidate, this.#avoided)
      if (path !== undefined) return path
    }
    return `${this.publicPrefix}/`
  }

  /**
   * The link in the session, unless it ended: a slow request may have written back what a sign-out removed.
   *
   * @param link what is in the session, from whoever has just read it
   */
  linkOf(request: FastifyRequest, link = readLink(request, this.id)): SessionLink | undefined {
    return link && !this.sessionStorage.hasEnded(link.id) && !this.signIns.hasEnded(link) ? link : undefined
  }

  /**
   * Who the request belongs to: the app's user, or whoever signed in through this client. A promise only where `userKey`
   * gives one.
   *
   * @throws {OptionError} when `userKey` gives something that is not a key
   */
  userFor(request: FastifyRequest): Promise<string | undefined> | string | undefined {
    const { userKey } = this.options
    if (!userKey) return this.linkOf(request)?.user
    const key = userKey(request)
    // Queries of some libraries are no promises, but can be waited for like one.
    return isThenable(key) ? Promise.resolve(key).then(checkUser) : checkUser(key)
  }

  async signOutEverywhere(user: string): Promise<void> {
    if (this.options.store) return this.manager.signOutEverywhere(user)
    return this.signIns.endAll(checkKey(user, 'signOutEverywhere(key)'))
  }

  declare(scopes: readonly string[]): void {
    for (const scope of scopes) this.declaredScopes.add(scope)
  }

  async close(): Promise<void> {
    await this.manager.close()
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

function checkUser(key: unknown): string | undefined {
  if (key === undefined || key === null || key === '') return undefined
  if (typeof key !== 'string') {
    throw new OptionError('userKey', `must return a string, and returned ${typeof key}. Write String(id).`)
  }
  return key
}
