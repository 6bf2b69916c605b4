/** The plugin: options, decorators, routes, and the end. */
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Client } from './client.js'
import type { DeletedUser, DeleteUserOptions } from './credentials/delete-user.js'
import type { SweepOptions, SweepReport } from './credentials/sweep.js'
import type { UserOAuth2 } from './credentials/user.js'
import { OptionError } from './errors.js'
import { type Guard, type GuardOptions, oauthAware, requireOAuth } from './guards/require-oauth.js'
import { addClient, clientOf, clientsOf, kClient, kReply, kStates, registeredClient, requestState } from './lookup.js'
import type { OAuth2ClientOptions } from './options.js'
import { parseScopes, type ScopeInput } from './provider/scopes.js'
import { resolveOptions } from './resolve-options.js'
import { authorize } from './routes/authorize.js'
import { callback } from './routes/callback.js'
import { confirm } from './routes/confirm.js'
import { logout } from './routes/logout.js'
import { registerRoutes } from './routes/register.js'

/** What a route's `config.oauth2` may be. */
export type GuardConfig =
  | boolean
  | 'aware'
  | { readonly scopes?: ScopeInput; readonly client?: string; readonly account?: string }

/** `fastify.oauth2`: one registered client. */
export interface OAuth2Client {
  /** The name that it is registered under. */
  readonly name: string
  /** Paths of our routes as Fastify knows them. */
  readonly authorizePath: string
  readonly callbackPath: string
  readonly logoutPath: string
  /** With `userKey`: where people confirm an account. See {@link handleConfirm}. */
  readonly confirmPath: string
  /** {@link requireOAuth} of this client. */
  requireOAuth(scopes?: ScopeInput, options?: Omit<GuardOptions, 'client'>): Guard
  /** {@link oauthAware} of this client. */
  oauthAware(): Guard
  /**
   * The stored credentials of a user, outside a request: for jobs.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   */
  user(key: string): Promise<UserOAuth2>
  /**
   * Deletes everything that is stored for a user of this client. {@link deleteUser} does so for all clients of an app.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   * @throws {StoreUnavailableError} {@link CredentialsUnreadableError} {@link ClientMismatchError}; nothing is deleted then
   */
  deleteUser(key: string, options?: DeleteUserOptions): Promise<DeletedUser>
  /**
   * What has to be done now and then, best by one scheduled job. See {@link CredentialManager.sweep}.
   *
   * @throws {StoreRequiredError} with `storage: 'session'`
   */
  sweep(options?: SweepOptions): Promise<SweepReport>
  /** @internal */
  readonly [kClient]: Client
}

/**
 * Answers the provider's callback on a route of your own, with `routes: false`.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleCallback } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
 * ```
 */
export async function handleCallback(
  request: FastifyRequest,
  reply: FastifyReply,
  { client = 'oauth2' }: { readonly client?: string } = {},
): Promise<FastifyReply> {
  return callback(clientOf(request, client), request, reply)
}

/** Answers a request to sign in, or for more, on a route of your own, with `routes: false`. */
export async function handleAuthorize(
  request: FastifyRequest,
  reply: FastifyReply,
  { client = 'oauth2' }: { readonly client?: string } = {},
): Promise<FastifyReply> {
  return authorize(clientOf(request, client), request, reply)
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
  fastify: FastifyInstance,
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

/**
 * Answers the form in which a person confirms an account, with `userKey` and `routes: false`: a POST to `confirmPath`, as a form
 * is sent (`@fastify/formbody` reads it).
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { callbackRouteOptions, handleConfirm } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.post('/oauth2callback/confirm', callbackRouteOptions, (request, reply) => handleConfirm(request, reply))
 * ```
 */
export async function handleConfirm(
  request: FastifyRequest,
  reply: FastifyReply,
  { client = 'oauth2' }: { readonly client?: string } = {},
): Promise<FastifyReply> {
  return confirm(clientOf(request, client), request, reply)
}

/** The same options, also from variables that may not be set: `clientSecret: process.env.CLIENT_SECRET`. */
type Settable<T> = { readonly [K in keyof T]: T[K] | undefined }

const plugin: FastifyPluginAsync<Settable<OAuth2ClientOptions>> = async (fastify, raw) => {
  const options = resolveOptions(raw as OAuth2ClientOptions, fastify.prefix)
  const { name } = options
  // A parent's client may be shadowed; what else there is of that name, such as `log` or `request.body`, may not.
  const shadows = registeredClient(fastify, name) !== undefined
  if (Object.hasOwn(fastify, name) || (!shadows && (name in fastify || fastify.hasRequestDecorator(name)))) {
    throw new OptionError('name', `"${name}" is taken in this context. Give each registration a name of its own.`)
  }
  const client = new Client(options)
  if (options.temporaryKeys) {
    fastify.log.warn(
      `${name}: no clientSecret, so this is a public client, and without encryptionKeys sign-ins in progress do not survive a restart`,
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
    confirmPath: client.confirmPath,
    requireOAuth(scopes, guardOptions) {
      client.declare(parseScopes(scopes, 'requireOAuth(scopes)'))
      return requireOAuth(scopes, { ...guardOptions, client: name })
    },
    oauthAware: () => oauthAware({ client: name }),
    user: (key) => client.manager.user(key),
    deleteUser: (key, options) => client.manager.deleteUser(key, options),
    sweep: (options) => client.manager.sweep(options),
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
  if (options.routes) {
    fastify.register(registerRoutes, { client, authorize, callback, confirm, logout })
  } else if (options.userKey) {
    fastify.addHook('onReady', async () => {
      if (fastify.hasRoute({ method: 'POST', url: client.confirmPath })) return
      fastify.log.warn(
        `${name}: nobody can confirm an account without a route POST ${client.confirmPath} that calls handleConfirm`,
      )
    })
  }
  // A key that records still need is missed now, and not by one user after the other.
  fastify.addHook('onReady', async () => client.manager.checkKeysAtStart(fastify.log))
  fastify.addHook('onClose', () => client.close())
}

/**
 * Enforces `config.oauth2`. Read when a request comes, because a hook that sees routes being declared misses those that were
 * declared before this plugin loaded.
 */
function guardDeclaredRoutes(fastify: FastifyInstance, client: Client): void {
  const { name, hook } = client.options
  const known = new Map<GuardConfig, DeclaredGuard>()
  fastify.addHook(hook, async (request, reply) => {
    ;(request as { [kReply]?: FastifyReply })[kReply] = reply
    const config = request.routeOptions.config?.oauth2
    if (config === undefined || config === false) return undefined
    let declared = known.get(config)
    if (!declared) {
      declared = guardFor(config)
      known.set(config, declared)
    }
    // A route that names a client which is not there must not be open for want of it.
    const responsible = clientOf(request, declared.client)
    // Where it is another one, that one's hook does it: also in a child with a client of its own under this name.
    return declared.client === name && responsible === client ? declared.guard(request, reply) : undefined
  })
  fastify.addHook('onRoute', ({ config }) => {
    // Mistakes in a route's config are found when it is declared, where that is still ahead.
    if (config?.oauth2 !== undefined && config.oauth2 !== false) guardFor(config.oauth2)
  })
}

interface DeclaredGuard {
  /** Name of the client. */
  readonly client: string
  readonly guard: Guard
}

/** @throws {OptionError} */
function guardFor(config: Exclude<GuardConfig, false>): DeclaredGuard {
  if (config === true) return { client: 'oauth2', guard: requireOAuth() }
  if (config === 'aware') return { client: 'oauth2', guard: oauthAware() }
  if (typeof config !== 'object' || config === null)
    throw new OptionError('config.oauth2', "must be true, false, 'aware' or { scopes, client, account }.")
  const { scopes, ...options } = config
  const unknown = Object.keys(options).find((key) => key !== 'client' && key !== 'account')
  if (unknown !== undefined) {
    throw new OptionError(`config.oauth2.${unknown}`, 'is not known. Known are: scopes, client, account.')
  }
  return { client: options.client ?? 'oauth2', guard: requireOAuth(scopes, options) }
}

/** The plugin. See {@link OAuth2ClientOptions}. */
const fastifyOAuth2Client = fp(plugin, { fastify: '5.x', name: 'fastify-oauth2client' })

export default fastifyOAuth2Client
