/** Credentials as application code holds them: an immutable value that does not spill its secrets. */
import { inspect } from 'node:util'
import { CredentialsInvalidError } from '../errors.js'
import type { TokenSet } from '../flows/token-set.js'
import { type DPoPKey, isDPoPKey } from '../provider/dpop.js'
import type { Provider } from '../provider/provider.js'
import { readAuthorizedUser, readOAuth2Client, readTokenResponse, type TokenResponseFields } from './import.js'
import type { Account, Claims, CredentialRecord } from './record.js'

const FORMAT = 'fastify-oauth2client/credentials'

/** Everything that credentials consist of. Times are milliseconds since the epoch. What {@link Credentials} are made of. */
export interface CredentialsFields {
  /** Printable ASCII, not empty. */
  readonly accessToken: string
  /** Default `Bearer`. `DPoP` needs `dpopKey`. */
  readonly tokenType?: string | undefined
  /** Absent when the provider did not say how long the access token lives. */
  readonly expiresAt?: number | undefined
  /** Absent where access ends with the access token. */
  readonly refreshToken?: string | undefined
  /** What was granted. */
  readonly scopes?: readonly string[] | undefined
  /** As it was received; for `id_token_hint`, not as a proof of anything. */
  readonly idToken?: string | undefined
  /** Those of the ID token, or what the provider said about the person. */
  readonly claims?: Claims | undefined
  /** The provider that issued them. */
  readonly issuer?: string | undefined
  /** The client that they were issued to. */
  readonly clientId?: string | undefined
  /** The identity at the provider. */
  readonly userId?: string | undefined
  /** For display: it is not an identity. */
  readonly email?: string | undefined
  /** The key that tokens of type `DPoP` are of no use without. RFC 9449. */
  readonly dpopKey?: DPoPKey | undefined
}

/**
 * One set of credentials. `serialize()` is complete and secret; `JSON.stringify`, `util.inspect` and loggers see a
 * redaction instead.
 *
 * @example
 * ```ts
 * import { Credentials } from 'fastify-oauth2client/credentials'
 *
 * const credentials = Credentials.fromAccessToken('an-access-token', { scopes: ['files.read'] })
 * const again = Credentials.fromJSON(credentials.serialize())
 * ```
 */
export class Credentials {
  /** Secret. */
  readonly accessToken: string
  /** `Bearer` or `DPoP`: the word before the token in the `Authorization` header. */
  readonly tokenType: string
  /** Milliseconds since the epoch; `undefined` when unknown. */
  readonly expiresAt: number | undefined
  /** Secret. `undefined` where access ends with the access token, and on `request.oauth2.credentials`. */
  readonly refreshToken: string | undefined
  /** What was granted. Frozen. */
  readonly scopes: readonly string[]
  /** As it was received; for `id_token_hint`, not as a proof of anything. */
  readonly idToken: string | undefined
  /** Those of the ID token, or what the provider said about the person. Frozen. */
  readonly claims: Claims | undefined
  /** The provider that issued them. */
  readonly issuer: string | undefined
  /** The client that they were issued to. */
  readonly clientId: string | undefined
  /** The identity at the provider. */
  readonly userId: string | undefined
  /** The address that the provider gave: for display, not an identity. */
  readonly email: string | undefined
  /** The private key that a token of type `DPoP` is of no use without. Secret. RFC 9449. */
  readonly dpopKey: DPoPKey | undefined

  /** @throws {CredentialsInvalidError} when a member has the wrong type */
  constructor(fields: CredentialsFields) {
    if (typeof fields.accessToken !== 'string' || !/^[\x21-\x7e]+$/.test(fields.accessToken)) {
      throw new CredentialsInvalidError('accessToken must be a non-empty string of printable ASCII.')
    }
    if (fields.expiresAt !== undefined && !Number.isFinite(fields.expiresAt)) {
      throw new CredentialsInvalidError('expiresAt must be milliseconds since the epoch.')
    }
    if (
      fields.scopes !== undefined &&
      !(Array.isArray(fields.scopes) && fields.scopes.every((s) => typeof s === 'string'))
    ) {
      throw new CredentialsInvalidError('scopes must be an array of strings.')
    }
    for (const name of ['tokenType', 'refreshToken', 'idToken', 'issuer', 'clientId', 'userId', 'email'] as const) {
      if (fields[name] !== undefined && typeof fields[name] !== 'string') {
        throw new CredentialsInvalidError(`${name} must be a string.`)
      }
    }
    const { claims } = fields
    if (claims !== undefined && (typeof claims !== 'object' || claims === null || Array.isArray(claims))) {
      throw new CredentialsInvalidError('claims must be an object.')
    }
    if (fields.dpopKey !== undefined && !isDPoPKey(fields.dpopKey)) {
      throw new CredentialsInvalidError('dpopKey must be a private key as a JWK.')
    }
    if (fields.tokenType?.toLowerCase() === 'dpop' && fields.dpopKey === undefined) {
      throw new CredentialsInvalidError('a token of type DPoP is of no use without its dpopKey.')
    }
    this.accessToken = fields.accessToken
    this.tokenType = fields.tokenType ?? 'Bearer'
    this.expiresAt = fields.expiresAt
    this.refreshToken = fields.refreshToken
    this.scopes = Object.freeze([...(fields.scopes ?? [])])
    this.idToken = fields.idToken
    this.claims = claims && Object.freeze({ ...claims })
    this.issuer = fields.issuer
    this.clientId = fields.clientId
    this.userId = fields.userId
    this.email = fields.email
    this.dpopKey = fields.dpopKey && Object.freeze({ ...fields.dpopKey })
    Object.freeze(this)
  }

  /** Credentials from an access token alone. They cannot be refreshed: once the token expires they are of no use. */
  static fromAccessToken(
    accessToken: string,
    fields: Omit<CredentialsFields, 'accessToken' | 'refreshToken'> = {},
  ): Credentials {
    // Also where nobody checks types: a refresh token in here would be used, and is not meant to be.
    return new Credentials({ ...fields, accessToken, refreshToken: undefined })
  }

  /**
   * What a grant of `fastify-oauth2client/flows` brought.
   *
   * @param requested the scopes that were asked for, which are granted where the answer names none. RFC 6749 section 5.1
   * @throws {CredentialsInvalidError} when the token is no access token, as a token exchange can have it
   * @example
   * ```ts
   * import { Credentials } from 'fastify-oauth2client/credentials'
   * import { clientCredentialsGrant, type Provider } from 'fastify-oauth2client/flows'
   *
   * async function ofTheService(provider: Provider) {
   *   const scopes = ['reports.read']
   *   return Credentials.fromTokenSet(provider, await clientCredentialsGrant(provider, { scopes }), scopes)
   * }
   * ```
   */
  static fromTokenSet(provider: Provider, tokens: TokenSet, requested: readonly string[] = []): Credentials {
    const { tokenType, claims, scopes } = tokens
    if (tokenType !== 'Bearer' && tokenType !== 'DPoP')
      throw new CredentialsInvalidError('the token that was issued is no access token.')
    const granted = provider.scopes.granted(requested, scopes)
    const email = claims?.email
    return new Credentials({
      ...tokens,
      // A valid ID token is what `openid` is about, whether or not the answer lists it.
      scopes: claims ? provider.scopes.union(granted, ['openid']) : granted,
      issuer: provider.issuer,
      clientId: provider.clientId,
      ...(claims ? { userId: String(claims.sub) } : {}),
      ...(typeof email === 'string' ? { email } : {}),
    })
  }

  /**
   * The inverse of `serialize()`.
   *
   * @throws {CredentialsInvalidError} for anything else, such as a redaction from a log
   */
  static fromJSON(json: string): Credentials {
    let value: Record<string, unknown> | null
    try {
      value = JSON.parse(json)
    } catch {
      throw new CredentialsInvalidError('not JSON.')
    }
    if (value?.redacted === true) {
      throw new CredentialsInvalidError('this is a redaction, made for logs. Use serialize() to keep credentials.')
    }
    if (value?.format !== FORMAT || value.v !== 1) {
      throw new CredentialsInvalidError(`not written by serialize() of this version.`)
    }
    return new Credentials(value as unknown as CredentialsFields)
  }

  /**
   * Credentials that a Python program stored with oauth2client: the JSON of `to_json()` (releases 1.3 to 4.1), as text or parsed.
   * `OAuth2Credentials`, `GoogleCredentials` and `AccessTokenCredentials` are known. `adopt()` stores them for a user.
   *
   * Scopes are what the last answer granted, where oauth2client kept that, else what it had asked for. Claims are what it read
   * from the ID token, whose signature it never checked. Credentials that it marked as invalid, which it did in outages
   * too, come as expired: the first use refreshes. The client secret in that JSON is not taken over, nor are the endpoints:
   * they belong to the registration. Neither is an issuer named there; `adopt()` compares the client id.
   *
   * @throws {CredentialsInvalidError} for anything else; a service account's key, say, is told where it belongs
   * @example
   * ```ts
   * import { readFileSync } from 'node:fs'
   * import { Credentials, type UserOAuth2 } from 'fastify-oauth2client/credentials'
   *
   * async function migrate(user: UserOAuth2, file: string) {
   *   await user.adopt(Credentials.fromOAuth2Client(readFileSync(file, 'utf8')))
   * }
   * ```
   */
  static fromOAuth2Client(json: string | Record<string, unknown>): Credentials {
    return new Credentials(readOAuth2Client(json))
  }

  /**
   * Credentials of a person as google-auth writes them (`Credentials.to_json()`, `token.json` of Google's samples), or gcloud
   * (`application_default_credentials.json` of type `authorized_user`), as text or parsed.
   *
   * Where there is no access token, or nobody knows how old it is, they come as expired: the first use refreshes. The client
   * secret, the token endpoint and the universe are not taken over: they belong to the registration. No identity is
   * named there, so `adopt()` takes the place of whatever is stored for the user.
   *
   * @throws {CredentialsInvalidError} for anything else; a service account's key, say, is told where it belongs
   * @example
   * ```ts
   * import { readFileSync } from 'node:fs'
   * import { Credentials } from 'fastify-oauth2client/credentials'
   *
   * const load = () => Credentials.fromAuthorizedUser(readFileSync('token.json', 'utf8'))
   * ```
   */
  static fromAuthorizedUser(json: string | Record<string, unknown>): Credentials {
    return new Credentials(readAuthorizedUser(json))
  }

  /**
   * Credentials from what most libraries for JavaScript keep of a sign-in: the answer of the token endpoint, as text or parsed, with
   * `expires_at` beside it (a `Date`, its JSON, or seconds since the epoch; `expiry_date` of google-auth-library will do too). Without
   * it nobody knows how old the access token is, and it comes as expired if there is a refresh token: the first use refreshes.
   *
   * `scope` says what was granted. Where the answer has none, that is what was asked for (RFC 6749 section 5.1): `fields.scopes`. Who
   * it is comes from the ID token, which is believed as it is stored and not verified again, or from `fields`; never hand in what a browser
   * or a phone sent, which is what `verifyIdToken` is for. The token's `iss` and `aud` are compared by `adopt()`. Without an identity,
   * `adopt()` takes the place of whatever is stored for the user.
   *
   * @param fields what is known besides
   * @throws {CredentialsInvalidError} for anything else
   * @example
   * ```ts
   * import { Credentials, type UserOAuth2 } from 'fastify-oauth2client/credentials'
   *
   * async function takeOver(user: UserOAuth2, row: { tokens: string; googleId: string }) {
   *   await user.adopt(Credentials.fromTokenResponse(row.tokens, { userId: row.googleId }))
   * }
   * ```
   */
  static fromTokenResponse(
    response: string | Readonly<Record<string, unknown>>,
    fields: TokenResponseFields = {},
  ): Credentials {
    return new Credentials(readTokenResponse(response, fields))
  }

  /** Whether `expiresAt` has passed. `now` in milliseconds since the epoch. */
  isExpired(now: number = Date.now()): boolean {
    return this.expiresAt !== undefined && now >= this.expiresAt
  }

  /** A complete JSON text, secrets included: keep it as you would keep a password. */
  serialize(): string {
    return JSON.stringify({ format: FORMAT, v: 1, ...this })
  }

  /** What loggers get: no secret, and marked so that it cannot be taken for the real thing. */
  toJSON(): Record<string, unknown> {
    return {
      redacted: true,
      scopes: this.scopes,
      expiresAt: this.expiresAt,
      refreshable: this.refreshToken !== undefined,
      issuer: this.issuer,
      clientId: this.clientId,
    }
  }

  [inspect.custom](): string {
    return `Credentials ${inspect(this.toJSON(), { breakLength: Number.POSITIVE_INFINITY })}`
  }
}

/** What application code gets to see of a stored account. The refresh token stays where it is. */
export function credentialsOf({ issuer, clientId }: CredentialRecord, account: Account): Credentials {
  const { idToken, claims, email, id, identified } = account
  const tokens = { ...account.tokens, refreshToken: undefined }
  return new Credentials({ ...tokens, idToken, claims, email, userId: identified ? id : undefined, issuer, clientId })
}
