/** Sends a person to the provider: makes an authorization request and remembers what its answer has to fit. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { authorizationUrl } from '../flows/authorization-code.js'
import { type OfflineAccess, offlineAccess } from '../flows/offline.js'
import { causedElsewhere, forgetCause } from './cause.js'
import type { PendingFlow } from './flow-cookie.js'
import { checkSessionCookie, ensureBinding, isFreshBinding, readBinding } from './session.js'

export interface StartFlow {
  readonly intent: PendingFlow['intent']
  /** What the person is asked for the sake of, besides the client's own scopes. */
  readonly needed: readonly string[]
  /** What was granted before. */
  readonly granted: readonly string[]
  readonly returnUrl: string
  /** The app's user, where the app has users of its own. */
  readonly user: string | undefined
  /** The identity that a grant is for. */
  readonly identity: string | undefined
  /** Whether the account is to be added to those of the user. */
  readonly another?: boolean
  readonly prompt?: string | undefined
  readonly loginHint?: string | undefined
  /** Asks for consent again, for want of a refresh token. */
  readonly reconsent?: boolean
  /** Whether it goes on for one that another site had begun. Default: as the request says. */
  readonly crossSite?: boolean | undefined
}

/** @throws {SessionCookieError} {@link SessionRequiredError} {@link ProviderUnavailableError} {@link OptionError} */
export async function startFlow(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  start: StartFlow,
): Promise<FastifyReply> {
  const { options } = client
  const { provider } = options
  checkSessionCookie(request)
  const redirectUri = client.redirectUri(request)
  const offline: OfflineAccess =
    options.offline === false ? { scopes: [] } : await offlineAccess(provider, options.scopes)
  const granted = options.includeGrantedScopes ? start.granted : []
  const scopes = provider.scopes.union(options.scopes, granted, start.needed, offline.scopes)
  const prompt = start.reconsent ? 'consent' : (start.prompt ?? options.authorizationParams.prompt ?? offline.prompt)
  const { url, request: authorization } = await authorizationUrl(provider, {
    redirectUri,
    scopes,
    params: {
      ...(options.includeGrantedScopes ? provider.options.incrementalParams : {}),
      ...offline.params,
      ...options.authorizationParams,
      ...(prompt ? { prompt } : {}),
      ...(start.loginHint ? { login_hint: start.loginHint } : {}),
    },
  })
  // Only where the app knows who it is can something be connected to somebody.
  const crossSite = start.user !== undefined && (start.crossSite ?? causedElsewhere(client, request))
  const now = options.clock()
  const fresh = isFreshBinding(readBinding(request), now)
  await client.flowCookies.save(request, reply, {
    ...authorization,
    client: client.id,
    intent: start.intent,
    returnUrl: start.returnUrl,
    binding: ensureBinding(request, now),
    fresh,
    ...(start.user === undefined ? {} : { user: start.user }),
    ...(start.identity === undefined ? {} : { identity: start.identity }),
    needed: provider.scopes.union(options.scopes, start.needed),
    ...(start.another ? { another: true } : {}),
    ...(start.reconsent ? { reconsented: true } : {}),
    ...(crossSite ? { crossSite } : {}),
    startedAt: now,
  })
  forgetCause(client, request, reply)
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  return reply.redirect(url, 302)
}
