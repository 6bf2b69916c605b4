/** Sends a person to the provider: makes an authorization request and remembers what its answer has to fit. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../client.js'
import { authorizationUrl } from '../flows/authorization-code.js'
import { exchangeError } from '../flows/exchange-error.js'
import { type OfflineAccess, offlineAccess } from '../flows/offline.js'
import { isRequired, type SignInRequirements } from '../provider/authentication.js'
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
  /** What the form is called that waits for the end of the flow. */
  readonly form?: string | undefined
  /** The app's user, where the app has users of its own. */
  readonly user: string | undefined
  /** The identity that a grant is for. */
  readonly identity: string | undefined
  /** Whether the account is to be added to those of the user. */
  readonly another?: boolean
  readonly prompt?: string | undefined
  readonly loginHint?: string | undefined
  /** How the person has to sign in. */
  readonly required?: SignInRequirements
  /** Asks for consent again, for want of a refresh token. */
  readonly reconsent?: boolean
  /** Asks with pages, whatever the options say, because asking without any was no use. */
  readonly interactive?: boolean
  /** Whether it goes on for one that another site had begun. Default: as the request says. */
  readonly crossSite?: boolean | undefined
}

/** The `prompt` of a request that nobody is to see. OpenID Connect Core section 3.1.2.1. */
const SILENT = 'none'

/** @throws {SessionCookieError} {@link SessionRequiredError} {@link ProviderUnavailableError} {@link ExchangeFailedError} {@link OptionError} */
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
  const required = start.required ?? {}
  const stepUp = isRequired(required) ? await client.outcome.nextStepUp(request, required) : undefined
  // Whoever only has to sign in again is not to lose by it what was granted before.
  const granted = options.includeGrantedScopes || stepUp ? start.granted : []
  const scopes = provider.scopes.union(options.scopes, granted, start.needed, offline.scopes)
  const { prompt: fixed, ...params } = options.authorizationParams
  const wanted = start.reconsent ? 'consent' : (start.prompt ?? fixed ?? offline.prompt)
  const prompt = start.interactive && wanted === SILENT ? offline.prompt : wanted
  const { url, request: authorization } = await authorizationUrl(provider, {
    redirectUri,
    scopes,
    ...required,
    params: {
      ...(options.includeGrantedScopes ? provider.options.incrementalParams : {}),
      ...offline.params,
      ...params,
      ...(prompt ? { prompt } : {}),
      ...(start.loginHint ? { login_hint: start.loginHint } : {}),
    },
  }).catch((error: unknown) => {
    throw exchangeError(error)
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
    ...(start.form === undefined ? {} : { form: start.form }),
    binding: ensureBinding(request, now),
    fresh,
    ...(start.user === undefined ? {} : { user: start.user }),
    ...(start.identity === undefined ? {} : { identity: start.identity }),
    needed: provider.scopes.union(options.scopes, start.needed),
    ...(start.another ? { another: true } : {}),
    ...(start.reconsent ? { reconsented: true } : {}),
    ...(prompt === SILENT ? { silent: true } : {}),
    ...(crossSite ? { crossSite } : {}),
    ...(stepUp ? { stepUp } : {}),
    startedAt: now,
  })
  forgetCause(client, request, reply)
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  // 303 after a form: the browser must not post it to the provider. RFC 9700 section 4.12.
  return reply.redirect(url, request.method === 'POST' ? 303 : 302)
}
