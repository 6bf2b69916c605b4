/** The file in which gcloud, and everything that follows it, looks for a person's credentials. */
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, rename, unlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Credentials } from '../credentials/credentials.js'
import { OptionError, StoreUnavailableError } from '../errors.js'

/**
 * The client that credentials were issued to. Google's libraries want its secret beside the refresh token. For
 * {@link writeAuthorizedUserFile}.
 */
export interface AuthorizedUserClient {
  /** The one that the credentials were issued to. */
  readonly clientId: string
  /** Written into the file, beside the refresh token. */
  readonly clientSecret: string
  /** The project that is billed. Default: none. */
  readonly quotaProjectId?: string | undefined
}

/**
 * Where application default credentials of a person are: `application_default_credentials.json` in `$CLOUDSDK_CONFIG`, or else in
 * `%APPDATA%\gcloud` on Windows and `~/.config/gcloud` elsewhere.
 *
 * @example
 * ```ts
 * import { existsSync } from 'node:fs'
 * import { wellKnownFile } from 'fastify-oauth2client/google'
 *
 * if (!existsSync(wellKnownFile())) console.error('Run: gcloud auth application-default login')
 * ```
 */
export function wellKnownFile(): string {
  const { CLOUDSDK_CONFIG, APPDATA, HOME, SystemDrive = 'C:' } = process.env
  const directory =
    CLOUDSDK_CONFIG ||
    (process.platform === 'win32'
      ? join(APPDATA || `${SystemDrive}\\`, 'gcloud')
      : join(HOME || homedir(), '.config', 'gcloud'))
  return join(directory, 'application_default_credentials.json')
}

/**
 * Writes a person's credentials for all of Google's libraries on this machine to find, as `gcloud auth application-default
 * login` does. The file holds the refresh token and the client secret, and only its owner can read it (mode 0600), also if
 * it was there before; it never exists half-written. There are no modes on Windows, so protect the directory there.
 *
 * Google's libraries refresh on their own from then on. That is safe with Google, whose refresh tokens do not rotate.
 *
 * @param path default {@link wellKnownFile}; its directory is made with mode 0700 if it is missing
 * @returns the path
 * @throws {OptionError} without a refresh token, or for the credentials of another client
 * @throws {StoreUnavailableError} when the file cannot be written
 * @example
 * ```ts
 * import { Credentials } from 'fastify-oauth2client/credentials'
 * import { writeAuthorizedUserFile } from 'fastify-oauth2client/google'
 *
 * const credentials = new Credentials({ accessToken: 'a', refreshToken: 'r', clientId: 'id' })
 * await writeAuthorizedUserFile(undefined, credentials, { clientId: 'id', clientSecret: 'secret' })
 * ```
 */
export async function writeAuthorizedUserFile(
  path: string | undefined,
  credentials: Credentials,
  client: AuthorizedUserClient,
): Promise<string> {
  const { refreshToken, clientId } = credentials
  if (!refreshToken)
    throw new OptionError('credentials', 'have no refresh token, and without one the file is of no use.')
  if (clientId !== undefined && clientId !== client.clientId) {
    throw new OptionError('client', 'is not the one that the credentials were issued to.')
  }
  const file = path ?? wellKnownFile()
  const contents = {
    type: 'authorized_user',
    client_id: client.clientId,
    client_secret: client.clientSecret,
    refresh_token: refreshToken,
    ...(client.quotaProjectId === undefined ? {} : { quota_project_id: client.quotaProjectId }),
  }
  // A new file in its place: a symbolic link is replaced rather than followed, and readers never see half of it.
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(`${JSON.stringify(contents, null, 2)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    // Whatever the umask took away.
    await chmod(draft, 0o600)
    await rename(draft, file)
  } catch (cause) {
    await unlink(draft).catch(() => undefined)
    throw new StoreUnavailableError({ cause })
  }
  return file
}
