/** People who are signed in to the app under test, without a provider and without a browser. */
import { randomBytes } from 'node:crypto'
import type { AnyInstance } from '../any-server.js'
import { clientsOf } from '../clients.js'
import type { Account } from '../credentials/record.js'
import { NotRegisteredError, OptionError } from '../errors.js'
import { parseScopes } from '../provider/scopes.js'
import type { ClientName, ScopesOf } from '../registered-clients.js'
import { dispatch } from './dispatch.js'

/** Who signs in, and what they granted. For {@link signIn}. */
export interface SignInOptions<Name extends string = ClientName> {
  /**
   * The person: a user name, whose identity is then that which `startAuthorizationServer` gives it (`sub-alice`,
   * `alice@example.test`), or the claims themselves, of which `sub` is the identity. Default `'alice'`.
   */
  readonly user?: string | (Readonly<Record<string, unknown>> & { readonly sub: string })
  /** What was granted besides the `scopes` of the plugin's options. Default: nothing. */
  readonly scopes?: ScopesOf<Name>
  /** The name that the plugin is registered under. Default `'oauth2'`. */
  readonly client?: Name
  /** What `getAccessToken()` gives. Default: a random one. */
  readonly accessToken?: string
  /** Seconds from now until the access token has expired, by the plugin's clock; below zero it has. Default 3600. */
  readonly expiresIn?: number
  /** Kept with it; `null` for none. Default: a random one. */
  readonly refreshToken?: string | null
  /** Whether it joins the accounts that are connected already. Default `false`. */
  readonly another?: boolean
  /** Headers of the browser that signs in, such as the `headers` of an earlier sign-in, or those that your `userKey` goes by. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A browser that is signed in. {@link signIn} resolves to it. */
export interface SignedIn {
  /** For `app.inject({ headers })`, supertest's `.set(headers)` and `fetch`: the cookies, and what was passed in. */
  readonly headers: Readonly<Record<string, string>>
  /** The same cookies by name, unencoded. */
  readonly cookies: Readonly<Record<string, string>>
  /** The key that the credentials are stored under, for `fastify.oauth2.user(key)`. */
  readonly user: string
  /** What `request.oauth2.getAccessToken()` gives. */
  readonly accessToken: string
}

/**
 * Signs somebody in to an app, as if they had come back from the provider with these credentials: they are in your storage, the
 * session is linked to them, and `onAuthorized` has run. Nobody is asked anything, no request leaves the process, and the app need
 * not listen. The provider does not know the tokens: where they are to be refreshed or used, go through `startAuthorizationServer`.
 *
 * @throws {NotRegisteredError} when the app has no client of that name
 * @throws {OptionError} when the options are wrong, or the session's cookie did not come; the app's answer where that is an error
 *
 * @example
 * ```ts
 * import cookie from '@fastify/cookie'
 * import session from '@fastify/session'
 * import Fastify from 'fastify'
 * import oauth2Client, { requireOAuth } from 'fastify-oauth2client'
 * import { signIn } from 'fastify-oauth2client/testing'
 *
 * const app = Fastify()
 * await app.register(cookie)
 * await app.register(session, { secret: 'a secret of at least thirty-two characters', cookie: { secure: 'auto' } })
 * await app.register(oauth2Client, {
 *   provider: { issuer: 'https://accounts.example.com' },
 *   clientId: 'my-app',
 *   clientSecret: 'a secret',
 *   encryptionKeys: ['another secret of at least thirty-two characters'],
 *   storage: 'session',
 * })
 * app.get('/files', { onRequest: requireOAuth('files.read') }, async (request) => `Hello ${request.oauth2.email}`)
 *
 * const { headers } = await signIn(app, { user: 'alice', scopes: 'files.read' })
 * const page = await app.inject({ url: '/files', headers })
 * console.log(page.body === 'Hello alice@example.test')
 * ```
 */
export async function signIn<Name extends ClientName = 'oauth2'>(
  app: AnyInstance,
  options: SignInOptions<Name> = {},
): Promise<SignedIn> {
  const { user = 'alice', expiresIn = 3_600, another = false, headers = {}, client: name = 'oauth2' } = options
  await app.ready()
  const clients = [...clientsOf(app)].filter((client) => client.name === name)
  const [client] = clients
  if (!client) throw new NotRegisteredError(name)
  if (clients.length > 1) throw new OptionError('signIn({ client })', `is the name of ${clients.length} clients.`)
  const claims = typeof user === 'string' ? { sub: `sub-${user}`, email: `${user}@example.test` } : user
  if (typeof claims.sub !== 'string' || claims.sub === '') {
    throw new OptionError('signIn({ user })', 'must be a user name, or claims that have a "sub".')
  }
  const more = parseScopes(options.scopes, 'signIn({ scopes })')
  const scopes = client.options.provider.scopes.union(client.options.scopes, more)
  const now = client.options.clock()
  const { accessToken = random('access'), refreshToken = random('refresh') } = options
  const account: Account = {
    id: claims.sub,
    identified: true,
    claims,
    ...('email' in claims && typeof claims.email === 'string' ? { email: claims.email } : {}),
    tokens: {
      accessToken,
      tokenType: 'bearer',
      obtainedAt: now,
      expiresAt: now + expiresIn * 1_000,
      scopes,
      ...(refreshToken === null ? {} : { refreshToken }),
    },
    requested: scopes,
    declined: [],
  }

  let stored: string | undefined
  const expected = client.testSignIns.expect({
    account,
    another,
    done: (key) => {
      stored = key
    },
  })
  try {
    const url = client.options.authorizePath
    const response = await dispatch(app, url, { ...headers, ...expected.headers })
    if (response.statusCode !== 204 || stored === undefined) {
      throw new OptionError('signIn(app)', `got an answer of the app: ${response.statusCode} ${response.body}`)
    }
    const cookies = cookiesAfter(headers.cookie, response.setCookies)
    const cookie = Object.entries(cookies).map(([it, value]) => `${it}=${encodeURIComponent(value)}`)
    return { headers: { ...headers, cookie: cookie.join('; ') }, cookies, user: stored, accessToken }
  } finally {
    expected.forget()
  }
}

const random = (what: string) => `test-${what}-${randomBytes(12).toString('base64url')}`

/** What a browser with these cookies has after a response. */
function cookiesAfter(header: string | undefined, setCookies: readonly string[]): Record<string, string> {
  const cookies = new Map((header ?? '').split(/; */).filter(Boolean).map(pairOf))
  for (const line of setCookies) {
    const [pair = '', ...attributes] = line.split(/; */)
    const [name, value] = pairOf(pair)
    const { 'max-age': maxAge, expires } = Object.fromEntries(
      attributes.map(pairOf).map(([attribute, to]) => [attribute.toLowerCase(), to]),
    )
    const over = maxAge === undefined ? Date.parse(expires ?? '') <= Date.now() : Number(maxAge) <= 0
    if (over) cookies.delete(name)
    else cookies.set(name, value)
  }
  return Object.fromEntries(cookies)
}

function pairOf(text: string): [name: string, value: string] {
  const [name = '', ...value] = text.split('=')
  return [name, decodeURIComponent(value.join('='))]
}
