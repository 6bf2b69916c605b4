/** Google's JSON files for programs: what each is, and what is missing in it. No message quotes them. */
import { GoogleCredentialsError } from '../errors.js'
import { isSecureUrl } from '../provider/http.js'

export type GoogleJson = Readonly<Record<string, unknown>>

/** A service account's key, as its JSON file holds it. */
export interface ServiceAccountKey {
  readonly email: string
  readonly keyId: string
  /** PEM. */
  readonly privateKey: string
  readonly tokenUri: string | undefined
  readonly projectId: string | undefined
  readonly universeDomain: string | undefined
  readonly quotaProjectId: string | undefined
}

/** @param source what messages call it */
export function parseGoogleJson(text: string, source: string): GoogleJson {
  let value: unknown
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    // Without the parser's own error, which quotes the text.
    throw new GoogleCredentialsError(`${source} is not JSON.`)
  }
  return checkObject(value, source)
}

export function checkObject(value: unknown, source: string): GoogleJson {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new GoogleCredentialsError(`${source} holds no JSON object.`)
  }
  return value as GoogleJson
}

/** @throws {GoogleCredentialsError} that names everything that is missing */
export function readServiceAccountKey(json: GoogleJson, source: string): ServiceAccountKey {
  if (json.type !== 'service_account') {
    const what = typeof json.type === 'string' ? `of type "${json.type.slice(0, 40)}"` : 'without a "type"'
    throw new GoogleCredentialsError(
      `${source} is ${what}, and not a service account's key ("type": "service_account"). A person's credentials are for applicationDefaultCredentials, or for Credentials.fromAuthorizedUser.`,
    )
  }
  requireMembers(json, ['client_email', 'private_key_id', 'private_key'], source)
  const tokenUri = textOf(json.token_uri)
  if (tokenUri !== undefined) checkTokenUri(tokenUri, source)
  return {
    email: json.client_email as string,
    keyId: json.private_key_id as string,
    privateKey: json.private_key as string,
    tokenUri,
    projectId: textOf(json.project_id),
    universeDomain: textOf(json.universe_domain),
    quotaProjectId: textOf(json.quota_project_id),
  }
}

export function requireMembers(json: GoogleJson, members: readonly string[], source: string): void {
  const missing = members.filter((name) => textOf(json[name]) === undefined)
  if (missing.length > 0) {
    throw new GoogleCredentialsError(`${source} lacks ${missing.map((name) => `"${name}"`).join(', ')}.`)
  }
}

export function checkTokenUri(uri: string, source: string): void {
  if (!URL.canParse(uri) || !isSecureUrl(new URL(uri))) {
    throw new GoogleCredentialsError(`${source}: the token endpoint must be an HTTPS URL (http only on localhost).`)
  }
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
