/** Application default credentials: a file that the environment names, gcloud's file, or the machine one runs on. */
import { existsSync } from 'node:fs'
import type { AuthClient, GoogleAuthOptions } from 'google-auth-library'
import type { AccessToken } from '../credentials/authorized-fetch.js'
import { GoogleCredentialsError, OAuth2ClientError, ProviderUnavailableError } from '../errors.js'
import { parseScopes, readScopes, type ScopeInput } from '../provider/scopes.js'
import { DEFAULT_UNIVERSE, GoogleCredentials, type GoogleCredentialsOptions } from './credentials.js'
import { checkTokenUri, type GoogleJson, parseGoogleJson, requireMembers, textOf } from './key-file.js'
import { importLibrary } from './library.js'
import { fromJson, readKeyFile } from './service-account.js'
import { refusal } from './token-request.js'
import { wellKnownFile } from './well-known-file.js'

/** Options of {@link applicationDefaultCredentials}. */
export interface ApplicationDefaultOptions extends GoogleCredentialsOptions {
  /** What the token is for. People's credentials have the scopes that they were given, whatever is written here. */
  readonly scopes?: ScopeInput | undefined
}

/** Credentials that `google-auth-library` knows how to get: people's, metadata servers, workload identity, impersonation. */
class LibraryCredentials extends GoogleCredentials {
  readonly #make: () => Promise<AuthClient>
  readonly #scopes: readonly string[]
  #client: AuthClient

  constructor(
    client: AuthClient,
    make: () => Promise<AuthClient>,
    options: GoogleCredentialsOptions,
    scopes: string[],
  ) {
    const { universeDomain = client.universeDomain, quotaProjectId = client.quotaProjectId } = options
    super({ ...options, universeDomain: universeDomain || DEFAULT_UNIVERSE, quotaProjectId })
    this.#client = client
    this.#make = make
    this.#scopes = scopes
  }

  protected async renew(rejected: string | undefined): Promise<AccessToken> {
    try {
      const token = await this.#token()
      if (token.token !== rejected) return token
      // Clients keep a token until it expires, each kind in its own way. A new client has none yet.
      this.#client = await this.#make()
      return await this.#token()
    } catch (error) {
      throw explained(error)
    }
  }

  async #token(): Promise<AccessToken> {
    const client = this.#client
    const { token } = await client.getAccessToken()
    if (!token) throw new GoogleCredentialsError('there was no access token in the answer.')
    const { expiry_date: expiresAt, scope } = client.credentials
    return { token, expiresAt: expiresAt ?? undefined, scopes: scope ? readScopes(scope) : this.#scopes }
  }
}

/**
 * The credentials that a program finds where it runs, in the order that all of Google's libraries have: the file that
 * `GOOGLE_APPLICATION_CREDENTIALS` names, the file of `gcloud auth application-default login` (or {@link writeAuthorizedUserFile}),
 * the metadata server of Google's machines. Everything but service accounts' keys needs `google-auth-library`.
 *
 * `GOOGLE_CLOUD_QUOTA_PROJECT` takes the place of the file's quota project. A file that is named and missing is an error; nothing
 * else is tried then.
 *
 * @throws {GoogleCredentialsError} when there are none, or the file cannot be used; the message never holds its contents
 * @throws {MissingPeerError} without `google-auth-library`
 * @example
 * ```ts
 * import { applicationDefaultCredentials } from 'fastify-oauth2client/google'
 *
 * const credentials = await applicationDefaultCredentials({ scopes: 'https://www.googleapis.com/auth/cloud-platform' })
 * const response = await credentials.fetch('https://storage.googleapis.com/storage/v1/b?project=my-project')
 * ```
 */
export async function applicationDefaultCredentials(
  options: ApplicationDefaultOptions = {},
): Promise<GoogleCredentials> {
  const { scopes: input, ...rest } = options
  const scopes = parseScopes(input)
  const quotaProjectId = options.quotaProjectId ?? textOf(process.env.GOOGLE_CLOUD_QUOTA_PROJECT)
  const found = await findFile()
  if (!found) return fromLibrary({ scopes }, { ...rest, quotaProjectId }, scopes)
  const { json, source } = found
  if (json.type === 'service_account') return fromJson(json, source, { ...rest, quotaProjectId, scopes })
  return fromLibrary(libraryOptions(json, source, scopes), { ...rest, quotaProjectId }, scopes)
}

async function findFile(): Promise<{ json: GoogleJson; source: string } | undefined> {
  const named = process.env.GOOGLE_APPLICATION_CREDENTIALS
  const path = named || wellKnownFile()
  if (!named && !existsSync(path)) return undefined
  const from = named ? ' (from GOOGLE_APPLICATION_CREDENTIALS)' : ' (the file of gcloud)'
  const source = `${path}${from}`
  return { json: parseGoogleJson(await readKeyFile(path, from), source), source }
}

const KNOWN = [
  'authorized_user',
  'external_account',
  'external_account_authorized_user',
  'impersonated_service_account',
  'gdch_service_account',
]

function libraryOptions(json: GoogleJson, source: string, scopes: string[]): GoogleAuthOptions {
  const { type } = json
  if (typeof type !== 'string' || !KNOWN.includes(type)) {
    const what = type === undefined ? 'has no "type"' : 'has an unknown "type"'
    throw new GoogleCredentialsError(`${source} ${what}. Known are: service_account, ${KNOWN.join(', ')}.`)
  }
  // Types of the library are about its own reading of the file.
  const options: GoogleAuthOptions = { credentials: json as never, ...(scopes.length > 0 ? { scopes } : {}) }
  if (type === 'authorized_user') {
    requireMembers(json, ['client_id', 'client_secret', 'refresh_token'], source)
    const tokenUri = textOf(json.token_uri)
    if (tokenUri !== undefined) {
      checkTokenUri(tokenUri, source)
      options.clientOptions = { endpoints: { oauth2TokenUrl: tokenUri } } as never
    }
  }
  return options
}

async function fromLibrary(
  options: GoogleAuthOptions,
  rest: GoogleCredentialsOptions,
  scopes: string[],
): Promise<GoogleCredentials> {
  const { GoogleAuth } = await importLibrary()
  const { universeDomain } = rest
  const make = () =>
    new GoogleAuth({
      ...options,
      ...(universeDomain === undefined ? {} : { universeDomain }),
      // Nobody asks for it here, and looking for it would start gcloud.
      projectId: 'unused',
    }).getClient() as Promise<AuthClient>
  try {
    return new LibraryCredentials(await make(), make, rest, scopes)
  } catch (error) {
    throw options.credentials ? explained(error) : nothingFound(error)
  }
}

function nothingFound(error: unknown): unknown {
  if (error instanceof OAuth2ClientError) return error
  return new GoogleCredentialsError(
    'there are none. Name a file in GOOGLE_APPLICATION_CREDENTIALS, run "gcloud auth application-default login", or run where there is a metadata server.',
    { cause: quiet(error) },
  )
}

/** What the library says may hold requests and answers; of that, the status and the error code go on. */
function explained(error: unknown): unknown {
  if (error instanceof OAuth2ClientError) return error
  const { response } = error as { response?: { status?: number; data?: { error?: unknown } } }
  const status = response?.status
  if (status !== undefined && status < 500 && status !== 429) return refusal(status, response?.data?.error)
  const reached = status !== undefined || (error as { code?: unknown }).code !== undefined
  if (reached) return new ProviderUnavailableError({ cause: quiet(error) })
  return new GoogleCredentialsError('google-auth-library cannot use them.', { cause: quiet(error) })
}

function quiet(error: unknown): Error {
  const { response, code } = error as { response?: { status?: number }; code?: unknown }
  return new Error(response?.status ? `HTTP ${response.status}` : typeof code === 'string' ? code : 'no answer')
}
