/** Signing in where there is no browser at all: the person enters a code on another device. RFC 8628. */
import type { Credentials } from '../credentials/credentials.js'
import { type DeviceAuthorization, deviceAuthorization } from '../flows/device-authorization.js'
import { type DevicePoll, deviceAuthorizationGrant } from '../flows/device-grant.js'
import { exchangeError } from '../flows/exchange-error.js'
import { resolveProvider } from '../registration/provider.js'
import { type AuthorizationOptions, checkAborted, credentialsFrom, wantedOf } from './authorization.js'

/** Options of {@link runDeviceFlow}. */
export interface DeviceFlowOptions extends Omit<AuthorizationOptions, 'prompt' | 'loginHint'> {
  /** Shows the person `userCode` and `verificationUri`, and the link that has both where there is one. */
  readonly onCode: (authorization: DeviceAuthorization) => unknown
  /** Called whenever the person is not done yet. */
  readonly onPoll?: (poll: DevicePoll) => void
  /** How to wait, in milliseconds. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>
}

/**
 * Has a person sign in on another device, and resolves to what they granted. Waits as long as the provider lets it. Whoever reads
 * the code to somebody who asks for it on the telephone gives them the account: say in `onCode` what it is for.
 *
 * @throws {ProviderMetadataError} when the provider has no device flow
 * @throws {AccessDeniedError} when the person said no
 * @throws {DeviceCodeExpiredError} when nobody entered the code in time
 * @throws {FlowAbortedError} when `signal` ended the wait
 * @throws {ClientRejectedError} {@link ExchangeFailedError} {@link ProviderUnavailableError}
 * @example
 * ```ts
 * import { runDeviceFlow } from 'fastify-oauth2client/installed'
 *
 * const credentials = await runDeviceFlow({
 *   provider: { issuer: 'https://login.example.com' },
 *   clientId: 'my-television',
 *   scopes: ['openid', 'email'],
 *   onCode: ({ userCode, verificationUri }) => console.log(`Enter ${userCode} at ${verificationUri}`),
 * })
 * console.log(credentials.email)
 * ```
 */
export async function runDeviceFlow(options: DeviceFlowOptions): Promise<Credentials> {
  const { signal, onCode, onPoll, sleep, authorizationParams } = options
  const { provider } = resolveProvider(options)
  checkAborted(signal)
  const { scopes, params } = await wantedOf(provider, options)
  try {
    const authorization = await deviceAuthorization(provider, { scopes, params: { ...params, ...authorizationParams } })
    checkAborted(signal)
    await onCode(authorization)
    const tokens = await deviceAuthorizationGrant(provider, authorization, {
      ...(signal && { signal }),
      ...(onPoll && { onPoll }),
      ...(sleep && { sleep }),
    })
    return await credentialsFrom(provider, scopes, tokens)
  } catch (error) {
    throw exchangeError(error)
  }
}
