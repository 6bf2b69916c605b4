/** The plugin: options, decorators, routes, and the end. */
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AnyInstance } from './any-server.js'
import { Client } from './client.js'
import { addClient, clientsOf } from './clients.js'
import type { DeletedUser, DeleteUserOptions } from './credentials/upkeep/delete-user.js'
import type { SweepOptions, SweepReport } from './credentials/upkeep/sweep.js'
import type { UserOAuth2 } from './credentials/user.js'
import { OptionError } from './errors.js'
import { describeGuards } from './guards/api-documentation.js'
import { guardDeclaredRoutes } from './guards/declared.js'
import { type Guard, type GuardOptions, oauthAware, requireOAuth } from './guards/require-oauth.js'
import { type ClientHealth, type HealthOptions, healthOf } from './health/health.js'
import { clientOf, kClient, kReply, kStates, registeredClient, requestState } from './lookup.js'
import type { OAuth2ClientOptions } from './options.js'
import { loadLibraries } from './provider/libraries.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import type { ClientName, Named } from './registered-clients.js'
import { resolveOptions } from './resolve-options.js'
import { authorize } from './routes/authorize.js'
import { backchannelLogout } from './routes/backchannel-logout.js'
import { callback } from './routes/callback.js'
import { confirm } from './routes/confirm.js'
import { loggedOut, logout } from './routes/logout.js'
import { registerRoutes } from './routes/register.js'
import { resume } from './routes/resume.js'
import { automaticTelemetry } from './telemetry/automatic.js'

/**
 * `fastify.oauth2`: one registered client.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import type { OAuth2Client } from 'fastify-oauth2client'
 *
 * function addReports(app: ReturnType<typeof Fastify>, client: OAuth2Client): void {
 *   app.get('/reports', { onRequest: client.requireOAuth('reports.read') }, async () => 'reports')
 *   app.get('/welcome', async () => ({ signIn: client.authorizePath }))
 * }
 * ```
 */
export interface OAuth2Client<Scope extends string = string> {
  /** The name that it is registered under. */
  readonly name: string
  /** Where people are sent to sign in or to grant more; like all paths here, as Fastify knows it, without a prefix that a proxy strips. */
  readonly authorizePath: string
  /** Where the provider sends people back to. */
  readonly callbackPath: string
  /** Where the sign-out form posts to, if there is a logout route. */
  readonly logoutPath: string
  /** Where the provider tells of logouts, with `backchannelLogout`. */
  readonly backchannelPath: string
  /** With `userKey`: where people confirm an account. See {@link handleConfirm}. */
  readonly confirmPath: string
  /** Where people see a form again that a guard with `resume` kept. See {@link handleResume}. */
  readonly resumePath: string
  /** {@link requireOAuth} of this client. */
  requireOAuth(scopes?: ScopeInput<Scope>, options?: Omit<GuardOptions, 'client'>): Guard
  /** {@link oauthAware} of this client. */
  oauthAware(): Guard
  /**
   * The stored credentials of a user, outside a request: for jobs.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   */
  user(key: string): Promise<UserOAuth2<Scope>>
  /**
   * Deletes everything that is stored for a user of this client. {@link deleteUser} does so for all clients of an app.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; nothing is deleted then
   */
  deleteUser(key: string, options?: DeleteUserOptions): Promise<DeletedUser>
  /**
   * Signs a user out of every browser. What is stored stays, and jobs go on. With `storage: 'session'`, browsers that this process
   * gets to see. See {@link CredentialManager.signOutEverywhere}.
   *
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; nothing has ended then
   */
  signOutEverywhere(key: string): Promise<void>
  /**
   * What has to be done now and then, best by one scheduled job. See {@link CredentialManager.sweep}.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   */
  sweep(options?: SweepOptions): Promise<SweepReport>
  /**
   * Whether provider, store and keys are there: what `/health` has a route for. Whatever is down is an answer.
   *
   * @throws {OptionError} for options that are none
   */
  health(options?: HealthOptions): Promise<ClientHealth>
  /** @internal */
  readonly [kClient]: Client
}

/**
 * Deletes everything that is stored for a user of the app: all accounts at all providers, in every context. Clients that keep
 * credentials in sessions have nothing to delete: sessions are the app's to end.
 *
 * @param key what `userKey` returns
 * @returns what became of it, by the name of the client
 * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; call it again then: what was
 * deleted already stays deleted
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { deleteUser } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.delete('/account', async () => {
 *   const outcome = await deleteUser(app, 'alice')
 *   return { providers: Object.keys(outcome) }
 * })
 * ```
 */
export async function deleteUser(
  fastify: AnyInstance,
  key: string,
  options?: DeleteUserOptions,
): Promise<Record<string, DeletedUser>> {
  const outcomes: Record<string, DeletedUser> = {}
  for (const {
    name,
    manager,
    options: { store },
  } of clientsOf(fastify)) {
    if (!store) continue
    const outcome = await manager.deleteUser(key, options)
    const { accounts = [], pending = 0 } = outcomes[name] ?? {}
    outcomes[name] = { accounts: [...accounts, ...outcome.accounts], pending: pending + outcome.pending }
  }
  return outcomes
}

/** The same options, also from variables that may not be set: `clientSecret: process.env.CLIENT_SECRET`. */
type Settable<T> = { readonly [K in keyof T]: T[K] | undefined }

/** The options of one of the clients. */
type OptionsOfOne = { [Name in ClientName]: Named<Name, 'name', OAuth2ClientOptions<Name>> }[ClientName]

/** What every request has of its own, which older versions of Fastify 5 do not count as decorated. */
const REQUEST_MEMBERS: ReadonlySet<string> = /* @__PURE__ */ new Set(['id', 'params', 'raw', 'query', 'log', 'body'])

const plugin: FastifyPluginAsync<Settable<OptionsOfOne>> = async (fastify, raw) => {
  const telemetry = raw.telemetry ?? (await automaticTelemetry((message) => fastify.log.warn(message)))
  const options = resolveOptions(raw as OAuth2ClientOptions, fastify.prefix, telemetry)
  const { name } = options
  // A parent's client may be shadowed; what else there is of that name, such as `log` or `request.body`, may not.
  const shadows = registeredClient(fastify, name) !== undefined
  const onRequests = fastify.hasRequestDecorator(name) || REQUEST_MEMBERS.has(name)
  if (Object.hasOwn(fastify, name) || (!shadows && (name in fastify || onRequests))) {
    throw new OptionError('name', `"${name}" is taken in this context. Give each registration a name of its own.`)
  }
  const client = new Client(options)
  if (options.temporaryKeys) {
    fastify.log.warn(`${name}: no clientSecret and no encryptionKeys, so sign-ins in progress do not survive a restart`)
  }
  if (options.backchannelLogout && !options.store) {
    fastify.log.warn(
      `${name}: with storage "session", a logout at the provider is known to this process only, until it ends. Use a store, and every process knows`,
    )
  }

  client.manager.onBurst = (count, seconds) =>
    fastify.log.error(
      { client: name, count },
      `${count} grants died within ${seconds} seconds: people do not do that. Check the client secret, and what changed at the provider`,
    )

  const api: OAuth2Client = {
    name,
    authorizePath: options.authorizePath,
    callbackPath: options.callbackPath,
    logoutPath: options.logoutPath,
    backchannelPath: client.backchannelPath,
    confirmPath: client.confirmPath,
    resumePath: client.resumePath,
    requireOAuth(scopes, guardOptions) {
      client.declare(parseScopes(scopes, 'requireOAuth(scopes)'))
      return requireOAuth(scopes, { ...guardOptions, client: name })
    },
    oauthAware: () => oauthAware({ client: name }),
    user: (key) => client.manager.user(key),
    deleteUser: (key, options) => client.manager.deleteUser(key, options),
    signOutEverywhere: (key) => client.signOutEverywhere(key),
    sweep: (options) => client.manager.sweep(options),
    health: (options) => healthOf(client, options),
    [kClient]: client,
  }
  fastify.decorate(name as 'oauth2', api)
  addClient(fastify, client)
  for (const key of [kStates, kReply]) {
    if (!fastify.hasRequestDecorator(key)) fastify.decorateRequest<unknown>(key, null)
  }
  // A child that registers its own client under the same name shares the request decorator with its parent.
  if (!fastify.hasRequestDecorator(name)) {
    fastify.decorateRequest(name as 'oauth2', {
      getter(this: FastifyRequest) {
        return requestState(clientOf(this, name), this)
      },
    })
  }

  guardDeclaredRoutes(fastify, client)
  describeGuards(fastify, client)
  if (options.routes) {
    fastify.register(registerRoutes, {
      client,
      authorize,
      callback,
      confirm,
      resume,
      logout,
      loggedOut,
      backchannelLogout,
    })
  } else if (options.userKey) {
    fastify.addHook('onReady', async () => {
      if (fastify.hasRoute({ method: 'POST', url: client.confirmPath })) return
      fastify.log.warn(
        `${name}: nobody can confirm an account without a route POST ${client.confirmPath} that calls handleConfirm`,
      )
    })
  }
  // Nobody's sign-in is to wait for them, and it is the start that fails where they cannot be loaded.
  fastify.addHook('onReady', loadLibraries)
  // A key that records still need is missed now, and not by one user after the other.
  fastify.addHook('onReady', async () => client.manager.checkKeysAtStart(fastify.log))
  fastify.addHook('onClose', () => client.close())
}

/**
 * The plugin. Decorates Fastify and its requests, and mounts the routes that people sign in by. It needs
 * `@fastify/cookie` and a session plugin; its options are {@link OAuth2ClientOptions}.
 *
 * @throws {OptionError} when the app starts, for options that cannot work; {@link ClientSecretsError} for a client
 * secrets file that cannot
 * @example
 * ```ts
 * import cookie from '@fastify/cookie'
 * import session from '@fastify/session'
 * import Fastify from 'fastify'
 * import oauth2Client from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.register(cookie)
 * app.register(session, { secret: process.env.SESSION_SECRET ?? '', rolling: false, cookie: { secure: 'auto' } })
 * app.register(oauth2Client, {
 *   provider: { issuer: 'https://login.example.com' },
 *   clientId: process.env.CLIENT_ID,
 *   clientSecret: process.env.CLIENT_SECRET,
 *   baseUrl: 'https://app.example.com',
 * })
 * ```
 */
const fastifyOAuth2Client: typeof plugin = /* @__PURE__ */ fp(plugin, {
  fastify: '5.x',
  name: 'fastify-oauth2client',
})

export default fastifyOAuth2Client
