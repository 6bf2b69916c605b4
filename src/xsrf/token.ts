/**
 * Tokens against cross-site requests: HMAC-SHA-256 over user, action and time. Used by the logout form.
 *
 * @module
 */
import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'
import { OptionError } from '../errors.js'

/** What signs: a secret of at least 32 random bytes. For {@link createXsrfToken} and {@link verifyXsrfToken}. */
export type XsrfKey = string | Uint8Array | KeyObject

/** What a token is bound to. For {@link createXsrfToken} and {@link verifyXsrfToken}. */
export interface XsrfBinding {
  /** Whose token it is: a user id, or a random value kept in the session. */
  readonly user: string
  /** What it allows. Default: nothing in particular. */
  readonly action?: string
  /** Milliseconds since the epoch. Default: now. */
  readonly now?: number
}

const DEFAULT_LIFETIME = 3_600_000
// Another process may have made the token, with a clock a little ahead of ours.
const FUTURE_TOLERANCE = 60_000
const MINIMUM_KEY_BYTES = 32

/**
 * Makes a token for a form.
 *
 * @throws {OptionError} for a key that is missing or has less than 32 bytes
 *
 * @example
 * ```ts
 * import { createXsrfToken, verifyXsrfToken } from 'fastify-oauth2client/xsrf'
 *
 * const key = 'a secret of at least thirty-two random bytes'
 * const token = createXsrfToken(key, { user: 'alice', action: 'delete' })
 * verifyXsrfToken(key, token, { user: 'alice', action: 'delete' }) // true
 * ```
 */
export function createXsrfToken(key: XsrfKey, { user, action = '', now = Date.now() }: XsrfBinding): string {
  checkKey(key)
  const time = Math.floor(now).toString(36)
  return `${time}.${mac(key, user, action, time)}`
}

/**
 * Whether a token was made with this key for this user and action, and is neither too old nor from the future. Anything
 * that is not such a token is `false`; only a key that is none throws.
 *
 * @param options.lifetime milliseconds that a token is good for. Default one hour
 * @throws {OptionError} for a key that is missing or has less than 32 bytes, whatever the token is
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { verifyXsrfToken } from 'fastify-oauth2client/xsrf'
 *
 * const key = process.env.XSRF_KEY
 * if (!key) throw new Error('Set XSRF_KEY')
 *
 * const app = Fastify()
 * app.delete<{ Params: { user: string } }>('/users/:user', async (request, reply) => {
 *   const { user } = request.params
 *   const binding = { user, action: 'delete', lifetime: 600_000 }
 *   const valid = verifyXsrfToken(key, request.headers['x-csrf-token'], binding)
 *   return valid ? 'deleted' : reply.code(403).send('reload the page and try again')
 * })
 * ```
 */
export function verifyXsrfToken(
  key: XsrfKey,
  token: unknown,
  { user, action = '', now = Date.now(), lifetime = DEFAULT_LIFETIME }: XsrfBinding & { readonly lifetime?: number },
): boolean {
  checkKey(key)
  if (typeof token !== 'string') return false
  const match = /^([0-9a-z]{1,11})\.([\w-]{43})$/.exec(token)
  if (!match) return false
  const [, time, signature] = match as unknown as [string, string, string]
  const age = now - Number.parseInt(time, 36)
  if (!(age <= lifetime && age >= -FUTURE_TOLERANCE)) return false
  // Compared as text: base64url has several spellings of the same bytes, and only one of them is our token.
  return timingSafeEqual(Buffer.from(mac(key, user, action, time)), Buffer.from(signature))
}

/** A variable that is not set is an empty key, with which anybody can make tokens. */
function checkKey(key: XsrfKey): void {
  if ((bytesOf(key) ?? 0) < MINIMUM_KEY_BYTES)
    throw new OptionError('key', `must have at least ${MINIMUM_KEY_BYTES} bytes.`)
}

function bytesOf(key: XsrfKey | undefined): number | undefined {
  if (typeof key === 'string') return Buffer.byteLength(key)
  return ArrayBuffer.isView(key) ? key.byteLength : key?.symmetricKeySize
}

function mac(key: XsrfKey, ...fields: string[]): string {
  // JSON keeps ('a:b', 'c') and ('a', 'b:c') apart, and unpaired surrogates too, which UTF-8 makes all alike.
  return createHmac('sha256', key).update(JSON.stringify(fields)).digest('base64url')
}
