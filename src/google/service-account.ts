/** Service accounts: tokens for a key file. RFC 7523; self-signed tokens as Google's AIP-4111 has them. */
import { createPrivateKey, type KeyObject, randomUUID, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { JWTPayload } from 'jose'
import type { AccessToken, TokenSource } from '../credentials/authorized-fetch.js'
import { GoogleCredentialsError, OptionError } from '../errors.js'
import { jose } from '../provider/libraries.js'
import { parseScopes, readScopes, type ScopeInput } from '../provider/scopes.js'
import { DEFAULT_UNIVERSE, GoogleCredentials, type GoogleCredentialsOptions } from './credentials.js'
import { checkObject, checkTokenUri, type GoogleJson, parseGoogleJson, readServiceAccountKey } from './key-file.js'
import { requestToken } from './token-request.js'

/** Options of {@link serviceAccountCredentials}. */
export interface ServiceAccountOptions extends GoogleCredentialsOptions {
  /** The key file that Google's console gave. One of `keyFile`, `credentials` and `stream` is needed. */
  readonly keyFile?: string | undefined
  /** What is in the key file, parsed. */
  readonly credentials?: GoogleJson | undefined
  /** The key file as a stream, such as `process.stdin`. */
  readonly stream?: AsyncIterable<string | Uint8Array> | undefined
  /** What the token is for. Default: none; `withScopes` adds them. */
  readonly scopes?: ScopeInput | undefined
  /** A user of the domain to act for, where the domain's administrator delegated that. */
  readonly subject?: string | undefined
  /** More claims for the assertion; they win over ours. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
  /**
   * Signs the access token itself, without asking Google. Default `false`, and always `true` in another universe than
   * `googleapis.com`, where there is no other way. Without `scopes` and `audience`, `fetch` signs one for each origin.
   */
  readonly selfSigned?: boolean | undefined
  /** With `selfSigned`: the `aud` of the token, such as `https://pubsub.googleapis.com/`, in the place of scopes. */
  readonly audience?: string | undefined
  /** The token endpoint. Default: the key file's, or else Google's. */
  readonly tokenUri?: string | undefined
}

/** A signature and the id of the key that made it. See {@link serviceAccountCredentials}. */
export interface Signature {
  /** Of the key that signed: `private_key_id` of the key file. */
  readonly keyId: string
  /** RSASSA-PKCS1-v1_5 with SHA-256. */
  readonly signature: Uint8Array
}

interface Account {
  readonly email: string
  readonly keyId: string
  readonly key: KeyObject
  readonly tokenUri: string
  readonly projectId: string | undefined
}

const TOKEN_URI = 'https://oauth2.googleapis.com/token'
/** Seconds: the longest that Google takes. */
const LIFETIME = 3_600
/** Self-signed tokens are kept for so many origins. */
const AUDIENCES = 50
const signBytes = promisify(sign) as (algorithm: string, data: Uint8Array, key: KeyObject) => Promise<Buffer>

/**
 * Credentials of a service account; immutable but for the token that they hold. {@link serviceAccountCredentials} makes
 * them.
 */
export class ServiceAccountCredentials extends GoogleCredentials {
  /** The account's own address. */
  readonly email: string
  /** `private_key_id` of the key file. */
  readonly keyId: string
  /** The project that the account belongs to, where the key file says so. */
  readonly projectId: string | undefined
  /** What the token is for. Frozen. */
  readonly scopes: readonly string[]
  /** The user of the domain that is acted for. */
  readonly subject: string | undefined
  /** Whether access tokens are signed here, without asking Google. */
  readonly selfSigned: boolean
  readonly #account: Account
  readonly #options: ServiceAccountOptions
  readonly #byAudience = new Map<string, ServiceAccountCredentials>()

  /** @internal */
  constructor(account: Account, options: ServiceAccountOptions) {
    super(options)
    this.email = account.email
    this.keyId = account.keyId
    this.projectId = account.projectId
    this.scopes = Object.freeze(parseScopes(options.scopes))
    this.subject = options.subject
    this.selfSigned = options.selfSigned ?? this.universeDomain !== DEFAULT_UNIVERSE
    this.#account = account
    this.#options = options
    if (this.selfSigned && this.subject !== undefined) {
      throw new OptionError(
        'subject',
        'needs a token from Google: it does not go with selfSigned, nor with another universe.',
      )
    }
    if (options.audience !== undefined && !this.selfSigned) {
      throw new OptionError('audience', 'is for selfSigned: true. Otherwise the token endpoint is the audience.')
    }
  }

  /** The same account with other scopes. These credentials stay as they are. */
  withScopes(scopes: ScopeInput): ServiceAccountCredentials {
    return new ServiceAccountCredentials(this.#account, { ...this.#options, scopes })
  }

  /** The same account, acting for a user of the domain. These credentials stay as they are. */
  withSubject(subject: string | undefined): ServiceAccountCredentials {
    return new ServiceAccountCredentials(this.#account, { ...this.#options, subject })
  }

  /** The same account with more claims in the assertion. These credentials stay as they are. */
  withClaims(claims: Readonly<Record<string, unknown>>): ServiceAccountCredentials {
    return new ServiceAccountCredentials(this.#account, {
      ...this.#options,
      claims: { ...this.#options.claims, ...claims },
    })
  }

  /** Signs bytes (or the UTF-8 of a text) with the account's key, as for signed URLs. */
  async sign(bytes: Uint8Array | string): Promise<Signature> {
    const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    return { keyId: this.keyId, signature: await signBytes('RSA-SHA256', data, this.#account.key) }
  }

  override toJSON(): Record<string, unknown> {
    const { email, keyId, projectId, scopes, subject, selfSigned } = this
    return { ...super.toJSON(), email, keyId, projectId, scopes, subject, selfSigned }
  }

  /** @internal */
  protected override sourceFor(url: URL): TokenSource {
    if (!this.selfSigned || this.#options.audience !== undefined || this.scopes.length > 0) return this
    const audience = `${url.origin}/`
    const known = this.#byAudience.get(audience)
    if (known) return known
    if (this.#byAudience.size >= AUDIENCES) this.#byAudience.clear()
    const made = new ServiceAccountCredentials(this.#account, { ...this.#options, audience })
    this.#byAudience.set(audience, made)
    return made
  }

  /** @internal */
  protected async renew(rejected: string | undefined): Promise<AccessToken> {
    const { clock, http, scopes } = this
    const { email, tokenUri } = this.#account
    const { audience, claims, timeout = 10_000 } = this.#options
    const now = clock()
    if (this.selfSigned) {
      if (audience === undefined && scopes.length === 0) {
        throw new OptionError(
          'audience',
          'or "scopes" is needed for a self-signed token. Only fetch can tell by itself what for.',
        )
      }
      const target = audience === undefined ? { scope: scopes.join(' ') } : { aud: audience }
      // Two that are signed within a second would be the same one.
      const other = rejected === undefined ? {} : { jti: randomUUID() }
      const token = await this.#jwt({ iss: email, sub: email, ...target, ...other, ...claims }, now)
      return { token, expiresAt: (Math.floor(now / 1000) + LIFETIME) * 1000, scopes }
    }
    const sub = this.subject === undefined ? {} : { sub: this.subject }
    const scope = scopes.length > 0 ? { scope: scopes.join(' ') } : {}
    const assertion = await this.#jwt({ iss: email, aud: tokenUri, ...scope, ...sub, ...claims }, now)
    const answer = await requestToken(http, timeout, tokenUri, assertion)
    return {
      token: answer.token,
      expiresAt: answer.expiresIn === undefined ? undefined : now + answer.expiresIn * 1000,
      scopes: answer.scope === undefined ? scopes : readScopes(answer.scope),
    }
  }

  async #jwt(claims: JWTPayload, now: number): Promise<string> {
    const { key, keyId } = this.#account
    const iat = Math.floor(now / 1000)
    const { SignJWT } = await jose()
    return new SignJWT({ iat, exp: iat + LIFETIME, ...claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: keyId })
      .sign(key)
  }
}

/**
 * Credentials of a service account, from its key. Where the program runs on Google's machines, or has workload identity,
 * `applicationDefaultCredentials` needs no key that could get lost.
 *
 * @throws {GoogleCredentialsError} when the key cannot be read or is not one; the message never holds its contents
 * @throws {OptionError} for options that cannot work
 * @example
 * ```ts
 * import { serviceAccountCredentials } from 'fastify-oauth2client/google'
 *
 * const robot = await serviceAccountCredentials({
 *   keyFile: 'service-account.json',
 *   scopes: 'https://www.googleapis.com/auth/drive.readonly',
 * })
 * const response = await robot.fetch('https://www.googleapis.com/drive/v3/files')
 * const forAlice = robot.withSubject('alice@example.com')
 * ```
 */
export async function serviceAccountCredentials(options: ServiceAccountOptions): Promise<ServiceAccountCredentials> {
  const { keyFile, credentials, stream, ...rest } = options
  const given = [keyFile, credentials, stream].filter((source) => source !== undefined)
  if (given.length !== 1)
    throw new OptionError('keyFile', 'or "credentials" or "stream" is needed, and only one of them.')
  if (keyFile !== undefined) return fromJson(parseGoogleJson(await readKeyFile(keyFile), keyFile), keyFile, rest)
  if (stream !== undefined) return fromJson(parseGoogleJson(await readAll(stream), 'the stream'), 'the stream', rest)
  return fromJson(checkObject(credentials, 'credentials'), 'credentials', rest)
}

/** @param source what messages call it */
export function fromJson(json: GoogleJson, source: string, options: ServiceAccountOptions): ServiceAccountCredentials {
  const { email, keyId, privateKey, tokenUri, projectId, universeDomain, quotaProjectId } = readServiceAccountKey(
    json,
    source,
  )
  if (options.tokenUri !== undefined) checkTokenUri(options.tokenUri, 'tokenUri')
  let key: KeyObject
  try {
    key = createPrivateKey(privateKey)
  } catch {
    throw new GoogleCredentialsError(`"private_key" in ${source} is not a private key in PEM format.`)
  }
  if (key.asymmetricKeyType !== 'rsa') throw new GoogleCredentialsError(`"private_key" in ${source} is not an RSA key.`)
  const account = { email, keyId, key, projectId, tokenUri: options.tokenUri ?? tokenUri ?? TOKEN_URI }
  return new ServiceAccountCredentials(account, {
    ...options,
    universeDomain: options.universeDomain ?? universeDomain,
    quotaProjectId: options.quotaProjectId ?? quotaProjectId,
  })
}

export async function readKeyFile(path: string, from = ''): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new GoogleCredentialsError(`${path}${from} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, {
      cause,
    })
  }
}

async function readAll(stream: AsyncIterable<string | Uint8Array>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array))
  return Buffer.concat(chunks).toString('utf8')
}
