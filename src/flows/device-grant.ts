/** Waits for a person who enters a code on another device. RFC 8628 sections 3.4 and 3.5. */
import { setTimeout } from 'node:timers/promises'
import {
  AccessDeniedError,
  DeviceCodeExpiredError,
  FlowAbortedError,
  OptionError,
  ProviderUnavailableError,
} from '../errors.js'
import type { DPoPKey } from '../provider/dpop.js'
import { ProviderFailure } from '../provider/failure.js'
import type { Exchange } from '../provider/http.js'
import { toNumber } from '../provider/json.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import type { DeviceAuthorization } from './device-authorization.js'
import { dpopKeyFor } from './proven-exchange.js'
import { requestTokens, type TokenSet } from './token-set.js'

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:device_code'

/** Seconds. RFC 8628 section 3.5. */
const SLOW_DOWN = 5
/** Seconds. A provider that is back is asked again before the person gives up. */
const LONGEST_BACKOFF = 60

/**
 * What came of asking once whether the person is done. {@link deviceAuthorizationGrant} and {@link runDeviceFlow} tell
 * `onPoll`.
 */
export interface DevicePoll {
  /** Counted from 1. */
  readonly attempt: number
  /** `pending`: not yet. `slow_down`: not yet, and ask less often. `unreachable`: the provider could not be asked. */
  readonly status: 'pending' | 'slow_down' | 'unreachable'
  /** Seconds until the next time. */
  readonly interval: number
  /** Milliseconds since the epoch, when it will be too late. */
  readonly expiresAt: number
}

/** How a device authorization is waited for. For {@link deviceAuthorizationGrant}. */
export interface DeviceGrantOptions {
  /** Ends the waiting, also in the middle of a request. */
  readonly signal?: AbortSignal
  /** Called whenever the answer was "not yet". What it throws ends the waiting. */
  readonly onPoll?: (poll: DevicePoll) => void
  /** The key to bind the tokens to. Default: a new one, with the provider's `dpop`. RFC 9449. */
  readonly dpopKey?: DPoPKey | undefined
  /** How to wait, in milliseconds. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>
}

/**
 * Asks again and again, as often as the provider allows, until the person has decided or the code has expired. A provider that
 * cannot be reached is asked less and less often; one that says no is not asked again.
 *
 * @throws {AccessDeniedError} when the person refused
 * @throws {DeviceCodeExpiredError} when they took too long; its cause is what kept the provider from being asked, if anything did
 * @throws {FlowAbortedError} when `signal` ended it
 * @throws {ProviderFailure} when the provider refuses for another reason
 * @example
 * ```ts
 * import { DeviceAuthorization, deviceAuthorizationGrant, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function wait(provider: Provider, kept: string) {
 *   return deviceAuthorizationGrant(provider, DeviceAuthorization.fromJSON(kept), {
 *     signal: AbortSignal.timeout(120_000),
 *     onPoll: ({ attempt, interval }) => console.log(`${attempt}: not yet, next in ${interval} s`),
 *   })
 * }
 * ```
 */
export async function deviceAuthorizationGrant(
  provider: Provider,
  authorization: DeviceAuthorization,
  { signal, onPoll, sleep = timer, dpopKey: kept }: DeviceGrantOptions = {},
): Promise<TokenSet> {
  const { expiresAt, clientId } = authorization
  if (clientId !== provider.clientId) throw new OptionError('authorization', 'was made for another client.')
  let interval = authorization.interval
  let backoff = 0
  let trouble: unknown
  let dpopKey = kept
  for (let attempt = 1; ; attempt++) {
    await wait(Math.min((interval + backoff) * 1000, expiresAt - provider.clock()))
    if (provider.clock() >= expiresAt) throw new DeviceCodeExpiredError(trouble ? { cause: trouble } : {})
    const exchange: Exchange = signal ? { signal } : {}
    let status: DevicePoll['status']
    try {
      dpopKey = await dpopKeyFor(provider, dpopKey)
      return await poll(provider, authorization, exchange, dpopKey)
    } catch (error) {
      checkSignal()
      status = statusOf(error)
      trouble = status === 'unreachable' ? error : undefined
    }
    if (status === 'slow_down') interval = Math.max(interval + SLOW_DOWN, secondsIn(exchange.body?.interval))
    // RFC 8628 section 3.5 recommends doubling. Once there is an answer, the person is not kept waiting any longer.
    const doubled = Math.min(interval + 2 * backoff, Math.max(LONGEST_BACKOFF - interval, 0))
    backoff = status === 'unreachable' ? Math.max(doubled, (exchange.retryAfter ?? 0) - interval) : 0
    onPoll?.({ attempt, status, interval: interval + backoff, expiresAt })
  }

  async function wait(ms: number): Promise<void> {
    checkSignal()
    await sleep(Math.max(ms, 0), signal).catch((error: unknown) => {
      checkSignal()
      throw error
    })
    checkSignal()
  }

  function checkSignal(): void {
    if (signal?.aborted) throw new FlowAbortedError({ cause: signal.reason })
  }
}

async function poll(
  provider: Provider,
  authorization: DeviceAuthorization,
  exchange: Exchange,
  dpopKey: DPoPKey | undefined,
): Promise<TokenSet> {
  const { issuer } = await provider.metadata()
  if (authorization.issuer !== issuer) throw new OptionError('authorization', 'was made for another provider.')
  const form = new URLSearchParams({ device_code: authorization.deviceCode })
  const client = await openidClient()
  return requestTokens(provider, (configuration) => client.genericGrantRequest(configuration, GRANT_TYPE, form), {
    acceptIdToken: authorization.scopes.includes('openid'),
    exchange,
    dpopKey,
  })
}

/** @throws whatever ends the waiting */
function statusOf(error: unknown): DevicePoll['status'] {
  if (error instanceof ProviderUnavailableError) return 'unreachable'
  if (!(error instanceof ProviderFailure)) throw error
  // A server in trouble says anything; only a healthy one is believed when it says no.
  if (error.kind === 'in_doubt') return 'unreachable'
  switch (error.error) {
    case 'authorization_pending':
      return 'pending'
    case 'slow_down':
      return 'slow_down'
    case 'access_denied':
    // Microsoft's word for it.
    case 'authorization_declined':
      throw new AccessDeniedError({ cause: error })
    case 'expired_token':
      throw new DeviceCodeExpiredError({ cause: error })
  }
  if (error.temporary) return 'unreachable'
  throw error
}

function secondsIn(value: unknown): number {
  const seconds = toNumber(value)
  return seconds > 0 && seconds < Number.MAX_SAFE_INTEGER ? seconds : 0
}

const timer = (ms: number, signal: AbortSignal | undefined) => setTimeout(ms, undefined, signal ? { signal } : {})
