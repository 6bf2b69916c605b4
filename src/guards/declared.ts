/** Guards that routes declare in their `config`. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { OptionError } from '../errors.js'
import { clientOf, kReply } from '../lookup.js'
import type { SignInRequirements } from '../provider/authentication.js'
import type { ClientName, Named, ScopesOf } from '../registered-clients.js'
import { type GuardClaim, guardClaim } from './guard-claim.js'
import { checkHook, type Guard, oauthAware, requireOAuth } from './require-oauth.js'

/**
 * What a route's `config.oauth2` may be. `true` stands for `requireOAuth()`, `'aware'` for `oauthAware()`, an object
 * for `requireOAuth(scopes, options)`.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import type { GuardConfig } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * const oauth2: GuardConfig = { scopes: 'files.read', maxAge: 3600 }
 * app.get('/files', { config: { oauth2 } }, async ({ oauth2 }) => `files of ${oauth2.email}`)
 * ```
 */
export type GuardConfig =
  | boolean
  | 'aware'
  // Every string has the members of an object whose members are all optional.
  | (object & { [Name in ClientName]: Named<Name, 'client', DeclaredGuardOptions<Name>> }[ClientName])

/** What a route can ask for in its `config`: a {@link GuardConfig}. */
export interface DeclaredGuardOptions<Name extends string = ClientName> extends SignInRequirements {
  /** What the route needs besides the `scopes` of the options. Default: nothing. */
  readonly scopes?: ScopesOf<Name>
  /** Name of the client. Default `'oauth2'`. */
  readonly client?: Name
  /** The connected account that is used. Default: the first one. */
  readonly account?: string
}

/**
 * Enforces `config.oauth2`. Read when a request comes, because a hook that sees routes being declared misses those that were
 * declared before this plugin loaded.
 */
export function guardDeclaredRoutes(fastify: FastifyInstance, client: Client): void {
  const { hook } = client.options
  const known = new Map<GuardConfig, DeclaredGuard>()
  // Every request of the app comes by here, and most for nothing: no promise is made for those.
  fastify.addHook(hook, (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    ;(request as { [kReply]?: FastifyReply })[kReply] = reply
    const config = request.routeOptions.config.oauth2
    if (config === undefined || config === false) return done()
    let declared = known.get(config)
    if (!declared) {
      declared = guardFor(config)
      known.set(config, declared)
    }
    // A route that names a client which is not there must not be open for want of it.
    const responsible = clientOf(request, declared.client)
    // Where it is another one, that one's hook does it: also in a child with a client of its own under this name.
    return responsible === client ? declared.guard(request, reply, done) : done()
  })
  fastify.addHook('onRoute', ({ config, onRequest }) => {
    // Mistakes in a route's config are found when it is declared, where that is still ahead.
    if (config?.oauth2 !== undefined && config.oauth2 !== false) guardFor(config.oauth2)
    checkHook(onRequest)
  })
}

/** What a route's config asks for, to be shown. */
export function declaredClaim(config: GuardConfig | undefined): GuardClaim | undefined {
  return config === undefined || config === false ? undefined : guardClaim(guardFor(config).guard)
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
    throw new OptionError(
      'config.oauth2',
      "must be true, false, 'aware' or { scopes, client, account, acrValues, maxAge }.",
    )
  const { scopes, ...options } = config
  if ('resume' in options) {
    const problem = 'cannot be declared: write requireOAuth(scopes, { resume: true }) as preValidation of the route.'
    throw new OptionError('config.oauth2.resume', problem)
  }
  const unknown = Object.keys(options).find((key) => !['client', 'account', 'acrValues', 'maxAge'].includes(key))
  if (unknown !== undefined) {
    throw new OptionError(
      `config.oauth2.${unknown}`,
      'is not known. Known are: scopes, client, account, acrValues, maxAge.',
    )
  }
  return { client: options.client ?? 'oauth2', guard: requireOAuth(scopes, options) }
}
