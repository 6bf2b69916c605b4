/**
 * Shows guarded routes with what they need where `@fastify/swagger` describes an app. Everything happens while the app starts: routes
 * that were declared are completed once Fastify has compiled their schemas, so that none of this is validated or serialized.
 */
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { Client } from '../client.js'
import { isOwnConfig, registeredClient } from '../lookup.js'
import type { ProviderMetadata } from '../provider/preset.js'
import { declaredClaim } from './declared.js'
import { type GuardClaim, guardClaim } from './guard-claim.js'

type Requirement = Record<string, readonly string[]>

/** What `@fastify/swagger` reads of a route's schema. */
interface Described {
  readonly hide?: boolean
  readonly security?: readonly Requirement[]
  readonly response?: Record<string, unknown>
}

/** Requirements that we made: those of another client of the app come in beside. */
const made = new WeakSet<readonly Requirement[]>()

export function describeGuards(fastify: FastifyInstance, client: Client): void {
  const guarded: { readonly route: RouteOptions; readonly needed: readonly string[]; readonly plain: boolean }[] = []
  const shown = () => client.options.provider.scopes.union(...guarded.map(({ needed }) => needed))
  let schemeIsShown = false
  let missed = false
  fastify.addHook('onRoute', function (route) {
    // Its option `decorator` gives it another name; then there is nothing to go by.
    if (!this.hasDecorator('swagger')) return
    if (isOwnConfig(route.config) || (!client.options.routes && route.url === client.options.callbackPath)) {
      if (route.schema === undefined) route.schema = { hide: true } as Described
      if (schemeIsShown || registeredClient(this, client.name) !== client) return
      const config = (route.config ?? {}) as { swaggerTransform?: unknown }
      if (config.swaggerTransform !== undefined) return
      schemeIsShown = true
      // The only place where a plugin can add to the document as a whole: a route of its own that is not shown.
      route.config = { ...config, swaggerTransform: showScheme(client, shown) } as NonNullable<RouteOptions['config']>
      return
    }
    const claims = claimsOf(route).filter((claim) => registeredClient(this, claim.client) === client)
    if (claims.length === 0) return
    // A document that names a scheme before it describes it cannot be made.
    if (!schemeIsShown) {
      missed = true
      return
    }
    const { provider, scopes } = client.options
    const needed = provider.scopes.union(scopes, ...claims.map((claim) => claim.scopes))
    const plain = this.serializerCompiler === undefined
    guarded.push({ route, needed: needed.filter((scope) => scope !== 'offline_access'), plain })
  })
  fastify.addHook('onReady', async () => {
    for (const { route, needed, plain } of guarded) route.schema = described(client, route, needed, plain) as object
    if (!missed) return
    fastify.log.warn(
      `${client.name}: the API documentation does not say which routes are guarded. Register @fastify/swagger before this plugin, and declare a callback route of your own before guarded ones`,
    )
  })
}

function claimsOf({ config, onRequest, preValidation, preHandler }: RouteOptions): GuardClaim[] {
  const hooks = [onRequest, preValidation, preHandler].flat().map((hook) => guardClaim(hook))
  return [...hooks, declaredClaim(config?.oauth2)].filter((claim) => claim !== undefined)
}

function described(client: Client, { schema }: RouteOptions, needed: readonly string[], plain: boolean): Described {
  const { security, response, ...rest } = (schema ?? {}) as Described
  const own = security !== undefined && !made.has(security)
  const requirements = own ? security : [{ ...security?.[0], [client.name]: needed }]
  if (!own) made.add(requirements)
  // Schemas of another language than JSON's are translated by somebody who would not know ours.
  return {
    ...rest,
    security: requirements,
    ...(plain ? { response: { ...ANSWERS, ...(response ?? UNDESCRIBED) } } : response && { response }),
  }
}

const ANSWER = {
  type: 'object',
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string' },
    error: { type: 'string' },
    message: { type: 'string' },
    authorizeUrl: { type: 'string', description: 'Where a person gives what is missing; append `return_url`' },
  },
}

/** Where a route says nothing of its answers, `@fastify/swagger` shows the first one alone. */
const UNDESCRIBED = { 200: { description: 'Default Response' } }

const ANSWERS = {
  401: { description: 'Nobody is signed in. People who open the page are sent to the provider instead', ...ANSWER },
  403: {
    description: 'A scope was not granted. People who open the page are sent to the provider instead',
    ...ANSWER,
    properties: { ...ANSWER.properties, missingScopes: { type: 'array', items: { type: 'string' } } },
  },
}

/** What a transform of `@fastify/swagger` is given; one of the two objects. */
interface Transformed {
  readonly schema: unknown
  readonly url: string
  readonly openapiObject?: { components?: { securitySchemes?: Record<string, unknown> } }
  readonly swaggerObject?: { securityDefinitions?: Record<string, unknown> }
}

function showScheme(client: Client, scopes: () => readonly string[]) {
  return ({ schema, url, openapiObject, swaggerObject }: Transformed) => {
    if (openapiObject) {
      const { components = {} } = openapiObject
      // Copied: what there is belongs to the options of `@fastify/swagger`, and a scheme of that name wins.
      const securitySchemes = { [client.name]: openApiScheme(client, scopes()), ...components.securitySchemes }
      openapiObject.components = { ...components, securitySchemes }
    }
    if (swaggerObject) {
      swaggerObject.securityDefinitions = {
        [client.name]: swaggerScheme(client, scopes()),
        ...swaggerObject.securityDefinitions,
      }
    }
    return { schema, url }
  }
}

function openApiScheme(client: Client, scopes: readonly string[]): Record<string, unknown> {
  const { issuer, authorization_endpoint, token_endpoint } = client.options.provider.options
  const description = descriptionOf(client)
  if (!(authorization_endpoint && token_endpoint)) {
    return { type: 'openIdConnect', description, openIdConnectUrl: discoveryUrl(issuer) }
  }
  const endpoints = { authorizationUrl: authorization_endpoint, tokenUrl: token_endpoint }
  return { type: 'oauth2', description, flows: { authorizationCode: { ...endpoints, scopes: withoutTexts(scopes) } } }
}

/** It knows no discovery: until somebody asked for them, the endpoints of such a provider are not known here. */
function swaggerScheme(client: Client, scopes: readonly string[]): Record<string, unknown> {
  const { provider } = client.options
  const { authorization_endpoint, token_endpoint }: Partial<ProviderMetadata> = provider.knownMetadata
  return {
    type: 'oauth2',
    flow: 'accessCode',
    description: descriptionOf(client),
    authorizationUrl: authorization_endpoint ?? provider.issuer,
    tokenUrl: token_endpoint ?? provider.issuer,
    scopes: withoutTexts(scopes),
  }
}

function discoveryUrl(issuer: string): string {
  return issuer.includes('/.well-known/') ? issuer : `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** Nobody has written down what they mean. */
function withoutTexts(scopes: readonly string[]): Record<string, string> {
  return Object.fromEntries(scopes.map((scope) => [scope, '']))
}

const descriptionOf = ({ authorizePath }: Client) =>
  `Open ${authorizePath} in a browser: the session cookie that comes of it is what requests are known by.`
