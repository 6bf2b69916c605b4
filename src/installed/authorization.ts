/** One authorization of a program without a web server of its own: what all ways of making it have in common. */
import { Credentials } from '../credentials/credentials.js'
import { AccessDeniedError, FlowAbortedError, OptionError } from '../errors.js'
import { type AuthorizationRequest, authorizationCodeGrant, authorizationUrl } from '../flows/authorization-code.js'
import { exchangeError } from '../flows/exchange-error.js'
import { identify } from '../flows/identity.js'
import { offlineAccess } from '../flows/offline.js'
import type { TokenSet } from '../flows/token-set.js'
import { wantedScopes } from '../flows/wanted-scopes.js'
import type { Provider } from '../provider/provider.js'
import type { ScopeInput } from '../provider/scopes.js'
import type { ClientOptions } from '../registration/provider.js'

/** Who we are and what is asked for. See {@link runLocalServerFlow}, {@link runPasteFlow}, {@link runDeviceFlow}. */
export interface AuthorizationOptions extends ClientOptions {
  /** Default: as the preset says, or `openid email` where the provider speaks OpenID Connect, else none. */
  readonly scopes?: ScopeInput
  /** Whether to ask for a refresh token in the provider's way. Default `true`. */
  readonly offline?: boolean
  /** `consent` or `select_account`, say, to have people asked again. OpenID Connect Core section 3.1.2.1. */
  readonly prompt?: string
  /** Who will sign in: an e-mail address or user name for the sign-in form. */
  readonly loginHint?: string
  /** Further parameters of the authorization request. Those that protect it cannot be set. */
  readonly authorizationParams?: Readonly<Record<string, string>>
  /** Ends the wait. */
  readonly signal?: AbortSignal
}

/** What is asked for, the provider's own scope for lasting access included. */
export async function wantedOf(
  provider: Provider,
  { scopes: input, offline = true, prompt }: AuthorizationOptions,
): Promise<{ scopes: string[]; params: Readonly<Record<string, string>>; prompt: string | undefined }> {
  const scopes = wantedScopes(provider, input)
  const lasting = offline ? await offlineAccess(provider, scopes) : { scopes: [] }
  return {
    scopes: provider.scopes.union(scopes, lasting.scopes),
    params: lasting.params ?? {},
    prompt: prompt ?? lasting.prompt,
  }
}

export async function begin(
  provider: Provider,
  redirectUri: string,
  options: AuthorizationOptions,
): Promise<{ url: string; request: AuthorizationRequest }> {
  if (provider.profile.responseMode) {
    throw new OptionError('responseMode', 'must be left out here: a program takes the answer from a URL, as it is.')
  }
  const { scopes, params, prompt } = await wantedOf(provider, options)
  const { loginHint, authorizationParams } = options
  return authorizationUrl(provider, {
    redirectUri,
    scopes,
    ...(prompt === undefined ? {} : { prompt }),
    ...(loginHint === undefined ? {} : { loginHint }),
    params: { ...params, ...authorizationParams },
  })
}

/**
 * @param query of the address that the person came back to, exactly as it was received
 * @throws what the caller of a flow gets: always an error with a code
 */
export async function finish(provider: Provider, request: AuthorizationRequest, query: string): Promise<Credentials> {
  try {
    return await credentialsFrom(provider, request.scopes, await authorizationCodeGrant(provider, request, query))
  } catch (error) {
    throw exchangeError(error)
  }
}

/** What a token endpoint gave, as a program keeps it. */
export async function credentialsFrom(
  provider: Provider,
  requested: readonly string[],
  tokens: TokenSet,
): Promise<Credentials> {
  const { id: userId, email, claims: identity } = await identify(provider, requested, tokens)
  const claims = identity || tokens.details ? { ...tokens.details, ...identity } : undefined
  return new Credentials({ ...Credentials.fromTokenSet(provider, tokens, requested), claims, email, userId })
}

export function isRefusal(error: unknown): boolean {
  return error instanceof AccessDeniedError
}

/** @throws {OptionError} for what a timer cannot wait */
export function checkTimeout(timeout: number): number {
  if (Number.isInteger(timeout) && timeout >= 1 && timeout < 2 ** 31) return timeout
  throw new OptionError('timeout', 'must be a whole number of milliseconds, such as 300000.')
}

/** @throws {FlowAbortedError} */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FlowAbortedError({ cause: signal.reason })
}
