/** The device authorization request: a code for a person to enter on another device. RFC 8628 sections 3.1 and 3.2. */
import { inspect } from 'node:util'
import type { DeviceAuthorizationResponse } from 'openid-client'
import { OptionError, ProviderMetadataError } from '../errors.js'
import { classify, ProviderFailure } from '../provider/failure.js'
import { type Exchange, isSecureUrl } from '../provider/http.js'
import { toNumber } from '../provider/json.js'
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { type TokenParams, tokenForm } from './token-params.js'

const FORMAT = 'fastify-oauth2client/device-authorization'

/** Seconds, where the answer does not say. The first is RFC 8628's. */
const DEFAULT_INTERVAL = 5
const DEFAULT_LIFETIME = 900
const LONGEST_LIFETIME = 86_400

/** Everything that a device authorization consists of. What {@link DeviceAuthorization} is made of. */
export interface DeviceAuthorizationFields {
  /** The provider that gave it. */
  readonly issuer: string
  /** The client that it was given to. */
  readonly clientId: string
  /** What was asked for. */
  readonly scopes: readonly string[]
  /** Secret: it is worth the tokens once the person said yes. */
  readonly deviceCode: string
  /** What the person enters. */
  readonly userCode: string
  /** Where they enter it. */
  readonly verificationUri: string
  /** The same with the code in it, where the provider has that. */
  readonly verificationUriComplete?: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  /** Seconds to wait between two questions whether the person is done. */
  readonly interval: number
}

/**
 * A device authorization that is on its way. What the person has to see is in plain members, and that is also all that
 * `JSON.stringify`, `util.inspect` and loggers get. The device code, which is worth the tokens once the person said yes, is in
 * `serialize()` only.
 *
 * @example
 * ```ts
 * import { DeviceAuthorization } from 'fastify-oauth2client/flows'
 *
 * function goOn(kept: string): string {
 *   const { userCode, verificationUri } = DeviceAuthorization.fromJSON(kept)
 *   return `Enter ${userCode} at ${verificationUri}`
 * }
 * ```
 */
export class DeviceAuthorization {
  /** The provider that gave it. */
  readonly issuer: string
  /** The client that it was given to: no other one can finish. */
  readonly clientId: string
  /** What was asked for. */
  readonly scopes: readonly string[]
  /** What the person enters. */
  readonly userCode: string
  /** Where they enter it. */
  readonly verificationUri: string
  /** The same with the code in it, for a link or a QR code; show the user code all the same. RFC 8628 section 3.3.1. */
  readonly verificationUriComplete: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  /** Seconds to wait between two questions whether the person is done. */
  readonly interval: number
  readonly #deviceCode: string

  /** @throws {OptionError} when a member has the wrong type */
  constructor(fields: DeviceAuthorizationFields) {
    for (const name of ['issuer', 'clientId', 'deviceCode', 'userCode', 'verificationUri'] as const) {
      if (typeof fields[name] !== 'string' || fields[name] === '') {
        throw new OptionError('authorization', `"${name}" must be a non-empty string.`)
      }
    }
    if (!Number.isFinite(fields.expiresAt) || !(fields.interval > 0)) {
      throw new OptionError('authorization', '"expiresAt" and "interval" must be numbers.')
    }
    if (!Array.isArray(fields.scopes)) throw new OptionError('authorization', '"scopes" must be an array of strings.')
    this.issuer = fields.issuer
    this.clientId = fields.clientId
    this.scopes = Object.freeze([...fields.scopes])
    this.userCode = fields.userCode
    this.verificationUri = fields.verificationUri
    this.verificationUriComplete = fields.verificationUriComplete
    this.expiresAt = fields.expiresAt
    this.interval = fields.interval
    this.#deviceCode = fields.deviceCode
    Object.freeze(this)
  }

  /** Secret. */
  get deviceCode(): string {
    return this.#deviceCode
  }

  /**
   * The inverse of `serialize()`.
   *
   * @throws {OptionError} for anything else, such as what a log holds
   */
  static fromJSON(json: string): DeviceAuthorization {
    let value: Record<string, unknown> | null
    try {
      value = JSON.parse(json)
    } catch {
      throw new OptionError('authorization', 'is not JSON.')
    }
    if (value?.redacted === true) throw new OptionError('authorization', 'is for display. Use serialize() to keep it.')
    if (value?.format !== FORMAT || value.v !== 1) {
      throw new OptionError('authorization', 'was not written by serialize() of this version.')
    }
    return new DeviceAuthorization(value as unknown as DeviceAuthorizationFields)
  }

  /** A complete JSON text with the device code, to finish in another process: keep it as you would keep a password. */
  serialize(): string {
    return JSON.stringify({ format: FORMAT, v: 1, ...this, deviceCode: this.#deviceCode })
  }

  /** What may be shown to the person. */
  toJSON(): object {
    return { redacted: true, ...this }
  }

  [inspect.custom](): string {
    return `DeviceAuthorization ${inspect(this.toJSON(), { breakLength: Number.POSITIVE_INFINITY })}`
  }
}

/**
 * Asks for a code that the person enters on another device, such as their phone. {@link deviceAuthorizationGrant} waits for them.
 *
 * @throws {ProviderMetadataError} when the provider has no device flow
 * @throws {ProviderFailure} when it refuses, or its answer cannot be used
 * @example
 * ```ts
 * import { deviceAuthorization, deviceAuthorizationGrant, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function signIn(provider: Provider) {
 *   const authorization = await deviceAuthorization(provider, { scopes: ['openid', 'files.read'] })
 *   console.log(`Enter ${authorization.userCode} at ${authorization.verificationUri}`)
 *   return deviceAuthorizationGrant(provider, authorization)
 * }
 * ```
 */
export async function deviceAuthorization(provider: Provider, options: TokenParams = {}): Promise<DeviceAuthorization> {
  const form = tokenForm(options)
  const { issuer, device_authorization_endpoint: endpoint } = await provider.metadata()
  if (!endpoint) throw new ProviderMetadataError(`${issuer} names no device_authorization_endpoint.`)
  const exchange: Exchange = { what: 'device authorization request', normalize }
  const client = await openidClient()
  const sentAt = provider.clock()
  let answer: DeviceAuthorizationResponse
  try {
    answer = await provider.exchange(exchange, (configuration) =>
      client.initiateDeviceAuthorization(configuration, form),
    )
  } catch (error) {
    throw classify(exchange, error)
  }
  const { verification_uri: uri, verification_uri_complete: complete, user_code: userCode } = answer
  // The link is opened and printed, the code is printed: neither may be anything else. A URL may be written with line feeds and
  // escape sequences, which are gone or encoded once it was parsed.
  if (!isLink(uri) || /\p{C}/u.test(userCode) || userCode.length > 64) {
    throw new ProviderFailure('unusable', exchange, undefined)
  }
  return new DeviceAuthorization({
    issuer,
    clientId: provider.clientId,
    scopes: options.scopes ?? [],
    deviceCode: answer.device_code,
    userCode,
    verificationUri: new URL(uri).href,
    ...(isLink(complete) ? { verificationUriComplete: new URL(complete).href } : {}),
    expiresAt: sentAt + Math.min(answer.expires_in, LONGEST_LIFETIME) * 1000,
    interval: answer.interval ?? DEFAULT_INTERVAL,
  })
}

/** What providers write otherwise than RFC 8628 section 3.2 wants it; Google says `verification_url`. */
function normalize({ interval, ...body }: Record<string, unknown>): Record<string, unknown> {
  const seconds = toNumber(interval)
  return {
    ...body,
    ...(body.verification_uri === undefined ? { verification_uri: body.verification_url } : {}),
    expires_in: body.expires_in ?? DEFAULT_LIFETIME,
    ...(seconds > 0 && seconds < LONGEST_LIFETIME ? { interval: seconds } : {}),
  }
}

function isLink(value: unknown): value is string {
  return typeof value === 'string' && URL.canParse(value) && isSecureUrl(new URL(value))
}
