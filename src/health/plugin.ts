/** A route that says whether what the app's clients depend on is there: for readiness probes and status pages. */
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { clientsOf } from '../clients.js'
import { NotRegisteredError, OptionError } from '../errors.js'
import { checkKnown } from '../registration/checks.js'
import { type ClientHealth, checkHealthOptions, type HealthOptions, healthOf } from './health.js'

export type { ClientHealth, HealthOptions }

/** What the route says, and to whom. It tells of {@link ClientHealth}. */
export interface HealthRouteOptions extends HealthOptions {
  /** Default `'/health/oauth2'`. */
  readonly path?: string
  /** Names of the clients that it is about. Default: all of the app's. */
  readonly clients?: readonly string[]
  /** Whether the answer tells of each client, or who may see that. Default `false`: one word. */
  readonly details?: boolean | ((request: FastifyRequest) => boolean | Promise<boolean>)
  /**
   * Whether a provider that does not answer makes the app count as not ready. Default `false`: every instance would be taken away at
   * once, and with them what works without the provider.
   */
  readonly providerRequired?: boolean
}

const KNOWN = {
  path: 'string',
  clients: 'any',
  details: 'any',
  providerRequired: 'boolean',
  timeout: 'any',
  cacheMaxAge: 'any',
} as const satisfies Record<keyof HealthRouteOptions, string>

const plugin: FastifyPluginAsync<HealthRouteOptions> = async (fastify, options) => {
  checkKnown(options, KNOWN)
  const { path = '/health/oauth2', clients: names, details = false, providerRequired = false } = options
  checkHealthOptions(options)
  if (!['boolean', 'function'].includes(typeof details))
    throw new OptionError('details', 'must be a boolean or a function.')
  if (names !== undefined && !(Array.isArray(names) && names.every((name) => typeof name === 'string'))) {
    throw new OptionError('clients', 'must be a list of names, such as ["oauth2"].')
  }
  const chosen = () => [...clientsOf(fastify)].filter(({ name }) => names?.includes(name) ?? true)
  fastify.addHook('onReady', async () => {
    const [missing] = (names ?? []).filter((name) => !chosen().some((client) => client.name === name))
    if (missing !== undefined) throw new NotRegisteredError(missing)
  })
  // Probes come every few seconds, and say nothing that is worth a line each.
  fastify.get(path, { logLevel: 'warn' }, async (request, reply) => {
    const found = await Promise.all(
      chosen().map(async (client) => [client.name, await healthOf(client, options)] as const),
    )
    const status = worst(found.map(([, health]) => health))
    const missed = providerRequired && found.some(([, { provider }]) => provider === 'down')
    const ready = status !== 'down' && !missed
    reply.code(ready ? 200 : 503).header('cache-control', 'no-store')
    // A promise that was not waited for would be as good as yes.
    const shown = (typeof details === 'function' ? await details(request) : details) === true
    return shown ? { status, clients: Object.fromEntries(found) } : { status }
  })
}

function worst(all: readonly ClientHealth[]): ClientHealth['status'] {
  const severity = ['down', 'degraded'] as const
  return severity.find((status) => all.some((health) => health.status === status)) ?? 'ok'
}

/**
 * `GET /health/oauth2`: 200 while people can be served, 503 when they cannot. See {@link HealthRouteOptions}.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import health from 'fastify-oauth2client/health'
 *
 * const app = Fastify()
 * app.register(health, { path: '/ready/oauth2', details: ({ ip }) => ip === '127.0.0.1' })
 * ```
 */
const oauth2Health = /* @__PURE__ */ fp(plugin, { fastify: '5.x', name: 'fastify-oauth2client-health' })

export default oauth2Health
