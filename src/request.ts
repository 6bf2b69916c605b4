/** What `request.oauth2` is, and the only place that tells TypeScript about it. */
import { type EndSessionOptions, endSessionUrl } from './flows/end-session.js'
import type { GuardConfig } from './guards/declared.js'
import { stepUpFor } from './guards/step-up.js'
import type { OAuth2Client } from './plugin.js'
import { parseRequirements, type SignInRequirements } from './provider/authentication.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import type { RegisteredClients, ScopeOf } from './registered-clients.js'
import { RequestCredentials } from './request-credentials.js'
import { ensureBinding } from './session/session.js'
import { sealTicket } from './session/ticket.js'
import { createXsrfToken } from './xsrf/token.js'

/** The declared clients that have a name, as members of the instance and of the request. */
type OtherName = Exclude<keyof RegisteredClients, 'oauth2'>
type Clients = { [Name in OtherName]: OAuth2Client<ScopeOf<Name>> }
type RequestClients = { [Name in OtherName]: RequestOAuth2<ScopeOf<Name>> }

declare module 'fastify' {
  interface FastifyInstance extends Clients {
    /** The OAuth client registered under the default name. */
    oauth2: OAuth2Client<ScopeOf<'oauth2'>>
  }
  interface FastifyRequest extends RequestClients {
    /** The credentials of whoever makes this request. */
    oauth2: RequestOAuth2<ScopeOf<'oauth2'>>
  }
  interface FastifyContextConfig {
    /** Guards the route: `true`, `'aware'`, or the scopes that it needs. */
    oauth2?: GuardConfig
  }
}

/**
 * Where to send people for more, and what for.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { type AuthorizeUrlOptions, oauthAware } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * const another: AuthorizeUrlOptions = { account: 'new', prompt: 'select_account', scopes: 'calendar.read' }
 * app.get('/accounts', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
 *   accounts: oauth2.accounts().map(({ email }) => email),
 *   connect: await oauth2.authorizeUrl('/accounts', another),
 * }))
 * ```
 */
export interface AuthorizeUrlOptions<Scope extends string = string> extends SignInRequirements {
  /** What to ask for, besides the scopes of the options. Default: those alone. */
  readonly scopes?: ScopeInput<Scope>
  /** The account that it is for, or `'new'` for another one. */
  readonly account?: string
  /**
   * `prompt` of OpenID Connect Core section 3.1.2.1. With `'none'` nothing is shown; where the provider cannot do without, the
   * person is asked after all, once.
   */
  readonly prompt?: string
  /** Who will sign in: an e-mail address or user name for the provider's form. Default: the connected account's address. */
  readonly loginHint?: string
}

/** What guards leave behind for the handler. */
export interface Standing {
  readonly required: SignInRequirements
  readonly selected: string | undefined
  readonly needed: readonly string[]
  readonly onFailure: ((this: RequestOAuth2, error: unknown) => void) | undefined
}

/**
 * `request.oauth2`: the credentials of whoever makes the request. It has every member of {@link UserOAuth2}, and those
 * that need a browser.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { oauthAware, type RequestOAuth2 } from 'fastify-oauth2client'
 *
 * const greet = (oauth2: RequestOAuth2) => (oauth2.hasCredentials() ? `Hello ${oauth2.email}` : 'Hello stranger')
 *
 * const app = Fastify()
 * app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => ({ text: greet(oauth2), _csrf: oauth2.xsrfToken }))
 * ```
 */
export class RequestOAuth2<Scope extends string = string> extends RequestCredentials<Scope> {
  /** Called with an error that `getAccessToken` or `fetch` threw into the handler. @internal */
  onFailure: ((this: RequestOAuth2, error: unknown) => void) | undefined
  /** What the guard needed that let the request pass. @internal */
  needed: readonly string[] = []

  /** What guards have wanted so far, and what is to be done if it is not there any more. @internal */
  get standing(): Standing {
    const { required, selected, needed, onFailure } = this
    return { required, selected, needed, onFailure }
  }

  /** @internal */
  set standing({ required, selected, needed, onFailure }: Standing) {
    this.required = required
    this.select(selected)
    this.needed = needed
    this.onFailure = onFailure
  }

  /** A token for the `_csrf` field of a form that posts to the logout route. */
  get xsrfToken(): string {
    this.assertLoaded()
    const [key] = this.client.options.keys.macKeys('xsrf')
    const now = this.client.options.clock()
    return createXsrfToken(key as NonNullable<typeof key>, {
      user: ensureBinding(this.request, now),
      action: this.client.name,
      now,
    })
  }

  /**
   * Ends this browser's link to the stored credentials, which stay for others and for jobs; those in the session go.
   *
   * @param options.everywhere ends the links of all of the user's browsers; with `storage: 'session'`, those that this process
   * gets to see. Default `false`
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} with `everywhere`; nothing has ended then
   */
  async signOut({ everywhere = false }: { readonly everywhere?: boolean } = {}): Promise<void> {
    if (everywhere) {
      const { user } = await this.load()
      if (user !== undefined) await this.client.signIns.endAll(user)
    }
    await this.leave()
  }

  /**
   * Where the person ends their session at the provider, for a logout of the app's own: ask for it before `signOut()`, which
   * forgets whose ID token is to be shown there. {@link endSessionUrl} is the same without a request.
   *
   * @param options.postLogoutRedirectUri where the provider sends the person afterwards; has to be registered there
   * @param options.state comes back with the person
   * @returns `undefined` where the provider has no such place
   * @throws {ProviderUnavailableError} when its metadata cannot be fetched
   */
  async endSessionUrl(options: Omit<EndSessionOptions, 'idTokenHint'> = {}): Promise<string | undefined> {
    await this.load()
    return endSessionUrl(this.client.options.provider, { ...options, idTokenHint: this.current?.idToken })
  }

  /**
   * A link that asks for authorization.
   *
   * @param returnUrl where to go afterwards: a path of this app. Default: whatever the page appends as `return_url`
   * @throws {OptionError} for scopes, `acrValues` or `maxAge` that are none
   */
  async authorizeUrl(returnUrl?: string, options: AuthorizeUrlOptions<Scope> = {}): Promise<string> {
    const query = new URLSearchParams()
    const { scopes, acrValues, maxAge, ...others } = options
    const rest = { ...others, ...parseRequirements({ acrValues, maxAge }) }
    if (Object.keys(options).length > 0) {
      const ticket = { ...rest, ...(scopes === undefined ? {} : { scopes: parseScopes(scopes) }) }
      query.set(
        'ticket',
        await sealTicket(this.client.options.keys, this.client.id, ticket, this.client.options.clock()),
      )
    }
    if (returnUrl !== undefined) query.set('return_url', this.client.returnUrl(returnUrl))
    return query.size > 0 ? `${this.client.authorizePath}?${query}` : this.client.authorizePath
  }

  /**
   * Asks the person for what an API wants that refused a call: another sign-in (RFC 9470), or scopes (RFC 6750 section 3.1) that
   * this app declares. Does nothing for any other response, which is the handler's to use. What is thrown is answered as a guard
   * answers, if one is on the route: with a redirect for a person, who comes back to the same page, and else with a 401 or 403
   * that has an `authorizeUrl`. The same is asked once: where it had no effect, the answer is a page that says so.
   *
   * @param response of `fetch`, unread; one that came from an origin that is not among `allowedOrigins` asks for nothing
   * @throws {StepUpRequiredError} {@link InsufficientScopeError}
   * @example
   * ```ts
   * import Fastify from 'fastify'
   * import { requireOAuth } from 'fastify-oauth2client'
   *
   * const app = Fastify()
   * app.get('/payments', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
   *   const response = await oauth2.fetch('https://api.example.com/payments')
   *   await oauth2.stepUp(response)
   *   return response.json()
   * })
   * ```
   */
  async stepUp(response: Response): Promise<void> {
    return this.failing(async () => {
      const wanted = stepUpFor(this.client, response, this.scopes)
      if (wanted) {
        // Nobody will read it, and unread it would keep a connection.
        await response.body?.cancel().catch(() => {})
        throw wanted
      }
      if (response.ok && this.reply) await this.client.outcome.settleStepUp(this.request, this.reply)
    })
  }

  /** @internal */
  protected override async failing<T>(use: () => Promise<T>): Promise<T> {
    try {
      return await use()
    } catch (error) {
      this.onFailure?.(error)
      throw error
    }
  }
}
