/**
 * What other libraries wrote: oauth2client's `to_json`, google-auth's authorized-user files, and token responses, which is what
 * most libraries for JavaScript keep. Called by `Credentials` only.
 */
import { CredentialsInvalidError } from '../errors.js'
import { readScopes } from '../provider/scopes.js'
import type { CredentialsFields } from './credentials.js'
import type { Claims } from './record.js'

type Json = Record<string, unknown>

/**
 * Stands for the access token where only a refresh token was written down. It goes with `expiresAt: 0`, so that it is
 * never sent anywhere: the first use refreshes.
 */
const NO_ACCESS_TOKEN = 'none-yet'

/** The classes of `oauth2client.client` that say whose credentials they are. Nothing is loaded by name: this list is closed. */
const CLASSES = ['OAuth2Credentials', 'AccessTokenCredentials', 'GoogleCredentials']

/** @throws {CredentialsInvalidError} */
export function readOAuth2Client(json: string | Json): CredentialsFields {
  const data = parse(json)
  const { _class: name, _module: module } = data
  if (typeof name !== 'string' || typeof module !== 'string') {
    const user = data.type === 'authorized_user' || ('refresh_token' in data && 'client_id' in data)
    const hint = user ? ' Is it an authorized user of google-auth or gcloud? Use Credentials.fromAuthorizedUser.' : ''
    throw invalid(`not from oauth2client's to_json: "_class" and "_module" are missing.${otherwise(data) || hint}`)
  }
  if (module === 'oauth2client.service_account' || /Assertion|ServiceAccount|JWTAccess/.test(name)) {
    throw invalid(
      'this is a service account, not a person. Use serviceAccountCredentials of fastify-oauth2client/google with its key file.',
    )
  }
  // Releases before 1.3 lived in a package of another name.
  if (!CLASSES.includes(name) || !/^(apiclient\.)?oauth2client(\.googleapiclient)?\.client$/.test(module)) {
    throw invalid(`of a class that is not known. Known are, in oauth2client.client: ${CLASSES.join(', ')}.`)
  }
  const accessToken = optional(data, 'access_token')
  if (name === 'AccessTokenCredentials') {
    if (accessToken === undefined) throw invalid('AccessTokenCredentials lack "access_token".')
    if (data.invalid === true)
      throw invalid('they are marked as invalid, and an access token alone cannot be refreshed.')
    return { accessToken }
  }
  const refreshToken = optional(data, 'refresh_token')
  const claims = isObject(data.id_token) ? (data.id_token as Claims) : undefined
  // Releases before 4 have one member for both: the claims, or what came.
  const idToken = optional(data, 'id_token_jwt') ?? (typeof data.id_token === 'string' ? data.id_token : undefined)
  return {
    ...tokens(accessToken, refreshToken, data.invalid === true, expiry(data.token_expiry)),
    refreshToken,
    scopes: grantedScopes(data),
    idToken,
    claims,
    clientId: optional(data, 'client_id'),
    userId: textOf(claims?.sub),
    email: textOf(claims?.email),
  }
}

/** @throws {CredentialsInvalidError} */
export function readAuthorizedUser(json: string | Json): CredentialsFields {
  const data = parse(json)
  const other = otherwise(data)
  if ((data.type !== undefined && data.type !== 'authorized_user') || other) {
    throw invalid(`not the credentials of an authorized user.${other}`)
  }
  const refreshToken = optional(data, 'refresh_token')
  const accessToken = optional(data, 'token')
  const clientId = optional(data, 'client_id')
  const missing = [
    ...(clientId === undefined ? ['client_id'] : []),
    ...(refreshToken === undefined && accessToken === undefined ? ['refresh_token'] : []),
  ]
  if (missing.length > 0)
    throw invalid(`an authorized user's JSON lacks ${missing.map((m) => `"${m}"`).join(' and ')}.`)
  const expiresAt = expiry(data.expiry)
  return {
    // google-auth takes a token of unknown age for an old one.
    ...tokens(accessToken, refreshToken, refreshToken !== undefined && expiresAt === undefined, expiresAt),
    refreshToken,
    scopes: scopesOf(data.scopes),
    clientId,
    email: optional(data, 'account') || undefined,
  }
}

/** What is known of a token response besides what is in it. */
export type TokenResponseFields = Pick<CredentialsFields, 'scopes' | 'userId' | 'email' | 'issuer' | 'clientId'>

/** @throws {CredentialsInvalidError} */
export function readTokenResponse(json: string | Json, fields: TokenResponseFields): CredentialsFields {
  const data = parse(json)
  const refreshToken = optional(data, 'refresh_token')
  const accessToken = optional(data, 'access_token')
  if (refreshToken === undefined && accessToken === undefined) {
    throw invalid(`a token response lacks "access_token".${otherwise(data)}`)
  }
  const expiresAt = epoch(data.expires_at ?? data.expiry_date)
  const idToken = optional(data, 'id_token')
  const claims = claimsIn(idToken)
  const id = textOf(claims?.sub)
  if (fields.userId !== undefined && id !== undefined && fields.userId !== id) {
    throw invalid('the ID token is of somebody else than `userId`.')
  }
  const granted = data.scope === undefined || data.scope === null ? (fields.scopes ?? []) : scopesOf(data.scope)
  return {
    // How long it lives says nothing without when that was.
    ...tokens(accessToken, refreshToken, refreshToken !== undefined && expiresAt === undefined, expiresAt),
    ...(optional(data, 'token_type')?.toLowerCase() === 'dpop' ? { tokenType: 'DPoP' } : {}),
    refreshToken,
    // An ID token is what `openid` is about, whether or not the answer lists it.
    scopes: [...new Set([...granted, ...(claims ? ['openid'] : [])])],
    ...(claims ? { idToken, claims } : {}),
    userId: fields.userId ?? id,
    email: fields.email ?? textOf(claims?.email),
    // A refresh token must not be sent to another provider than the one that it came from.
    issuer: fields.issuer ?? textOf(claims?.iss),
    clientId: fields.clientId ?? textOf(claims?.aud),
  }
}

/** @param doubtful whether the access token is better not used, if there is a way to get another one */
function tokens(
  accessToken: string | undefined,
  refreshToken: string | undefined,
  doubtful: boolean,
  expiresAt: number | undefined,
): Pick<CredentialsFields, 'accessToken' | 'expiresAt'> {
  if (refreshToken === undefined) {
    if (accessToken === undefined) throw invalid('there is neither an access token nor a refresh token.')
    if (doubtful) throw invalid('they are marked as invalid and have no refresh token.')
    return { accessToken, expiresAt }
  }
  // oauth2client marks credentials as invalid for outages too, so the refresh token gets its chance: a provider that ended the
  // grant says so.
  if (accessToken === undefined || doubtful) return { accessToken: accessToken ?? NO_ACCESS_TOKEN, expiresAt: 0 }
  return { accessToken, expiresAt }
}

/** oauth2client notes what was asked for; what was granted is in the answer that it keeps beside. */
function grantedScopes(data: Json): string[] {
  const { token_response: response, scopes } = data
  if (isObject(response) && typeof response.scope === 'string') return readScopes(response.scope)
  return scopesOf(scopes)
}

function scopesOf(scopes: unknown): string[] {
  if (scopes === undefined || scopes === null) return []
  if (typeof scopes === 'string') return readScopes(scopes)
  if (Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string')) return readScopes(scopes.join(' '))
  throw invalid('"scopes" must be a list of strings or a string.')
}

/** Milliseconds since the epoch; `undefined` for what is no time as a whole. Python writes up to microseconds, and UTC without a zone. */
function expiry(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?$/.exec(value.trim())
  if (!match) return undefined
  const [, date, time, fraction = '', zone = 'Z'] = match
  const at = Date.parse(`${date}T${time}${fraction.slice(0, 4)}${zone.replace(/(\d\d)(\d\d)$/, '$1:$2')}`)
  return Number.isNaN(at) ? undefined : at
}

/** Milliseconds since the epoch, of what is written down in JavaScript: a `Date`, its JSON, or a number, which databases give as text. */
function epoch(value: unknown): number | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.getTime()
  const number = typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value
  if (typeof number === 'bigint') return epoch(Number(number))
  if (typeof number !== 'number' || !Number.isFinite(number)) return expiry(value)
  // As seconds, this is the year 5138.
  return number < 100_000_000_000 ? number * 1_000 : number
}

/** Of a token that was verified by whoever stored it, if by anybody. */
function claimsIn(idToken: string | undefined): Claims | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(idToken?.split('.')[1] ?? '', 'base64url').toString())
    return isObject(claims) ? claims : undefined
  } catch {
    return undefined
  }
}

function parse(json: string | Json): Json {
  let value: unknown = json
  if (typeof json === 'string') {
    try {
      value = JSON.parse(json.replace(/^\uFEFF/, ''))
    } catch {
      // Without the parser's own error, which quotes the text.
      throw invalid('not JSON.')
    }
  }
  if (!isObject(value)) throw invalid('not a JSON object.')
  return value
}

/** Says what something is that came to the wrong place, and where it belongs. */
function otherwise(data: Json): string {
  const is = (what: string) => ` This is ${what}`
  if (data.type === 'service_account' || data.private_key !== undefined) {
    return is(
      "a service account's key, not a person's credentials. Use serviceAccountCredentials of fastify-oauth2client/google.",
    )
  }
  if (typeof data.type === 'string' && data.type !== 'authorized_user') {
    return is('a configuration for Google. Use applicationDefaultCredentials of fastify-oauth2client/google.')
  }
  if (isObject(data.web) || isObject(data.installed)) {
    return is('a client secrets file, without credentials. Use the option clientSecretsFile, or loadClientSecrets.')
  }
  if (data.format === 'fastify-oauth2client/credentials') return is('from serialize(). Use Credentials.fromJSON.')
  if (typeof data._class === 'string') return is("from oauth2client's to_json. Use Credentials.fromOAuth2Client.")
  return ''
}

function optional(data: Json, name: string): string | undefined {
  const value = data[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw invalid(`"${name}" must be a string.`)
  return value
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function invalid(problem: string): Error {
  return new CredentialsInvalidError(problem)
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
