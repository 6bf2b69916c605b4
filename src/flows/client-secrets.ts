/** `client_secrets.json`, the file that providers hand out with a registration. */
import { readFileSync } from 'node:fs'
import { ClientSecretsError } from '../errors.js'

/** A registration as a client secrets file holds it. {@link loadClientSecrets} and {@link parseClientSecrets} give one. */
export interface ClientSecrets {
  /** `web` for servers, `installed` for programs on people's own machines, which have no secret to keep. */
  readonly type: 'web' | 'installed'
  /** `client_id` of the file. */
  readonly clientId: string
  /** `client_secret`; absent where the file has none. */
  readonly clientSecret?: string
  /** `redirect_uris`; empty where the file lists none. */
  readonly redirectUris: readonly string[]
  /** `auth_uri`, where people are sent. */
  readonly authUri: string
  /** `token_uri`, where codes are exchanged. */
  readonly tokenUri: string
  /** Every member of the file's section as it was written. */
  readonly raw: Readonly<Record<string, unknown>>
}

const REQUIRED = {
  web: ['client_id', 'client_secret', 'redirect_uris', 'auth_uri', 'token_uri'],
  installed: ['client_id', 'auth_uri', 'token_uri'],
} as const

/**
 * Where files that were read are remembered, by path. A `Map` will do.
 *
 * @example
 * ```ts
 * import { type ClientSecretsCache, loadClientSecrets } from 'fastify-oauth2client/flows'
 *
 * const cache: ClientSecretsCache = new Map()
 * const tenants = ['a', 'b'].map((tenant) => loadClientSecrets(`${tenant}/client_secrets.json`, { cache }))
 * ```
 */
export interface ClientSecretsCache {
  /** What was remembered for the path, if anything. */
  get(path: string): ClientSecrets | undefined
  /** Called for files that are good. */
  set(path: string, secrets: ClientSecrets): unknown
}

/**
 * Reads and checks a client secrets file.
 *
 * @param options.cache a file that is in it is not read again; what is bad is never put there. Default: none
 * @throws {ClientSecretsError} when it cannot be read, is not JSON, or lacks a member; the message never holds its contents
 * @example
 * ```ts
 * import { loadClientSecrets } from 'fastify-oauth2client/flows'
 *
 * const { clientId } = loadClientSecrets('client_secrets.json')
 * ```
 */
export function loadClientSecrets(
  path: string,
  { cache }: { readonly cache?: ClientSecretsCache } = {},
): ClientSecrets {
  const known = cache?.get(path)
  if (known) return known
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClientSecretsError(
      `${path} cannot be read (${code}). Download it from your provider's console, or set clientId and clientSecret.`,
      { cause },
    )
  }
  const secrets = parseClientSecrets(text, path)
  cache?.set(path, secrets)
  return secrets
}

/**
 * Checks the text of a client secrets file.
 *
 * @param source what messages call it
 * @throws {ClientSecretsError}
 * @example
 * ```ts
 * import { parseClientSecrets } from 'fastify-oauth2client/flows'
 *
 * const { clientId, redirectUris } = parseClientSecrets(process.env.CLIENT_SECRETS ?? '', 'CLIENT_SECRETS')
 * ```
 */
export function parseClientSecrets(text: string, source = 'client secrets'): ClientSecrets {
  const fail = (problem: string): never => {
    throw new ClientSecretsError(`${source} ${problem}`)
  }
  let file: unknown
  try {
    // A byte order mark is what some editors leave at the start.
    file = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    return fail('is not JSON.')
  }
  if (!isObject(file)) return fail('must hold an object with one member, "web" or "installed".')
  const types = Object.keys(file)
  const [type] = types
  if (types.length !== 1)
    return fail(`must hold exactly one of "web" and "installed", and holds ${types.length} members.`)
  if (type !== 'web' && type !== 'installed') {
    return fail(`is of the unknown type ${JSON.stringify(type?.slice(0, 40))}; "web" and "installed" are known.`)
  }
  const section = file[type]
  if (!isObject(section)) return fail(`has no object in "${type}".`)
  for (const name of REQUIRED[type]) {
    if (section[name] === undefined || section[name] === null) fail(`lacks "${name}" in "${type}".`)
  }
  const member = (name: string): string => {
    const value = section[name]
    if (typeof value !== 'string' || value === '') return fail(`: "${name}" in "${type}" must be a non-empty string.`)
    if (value.startsWith('[['))
      return fail(`: "${name}" in "${type}" is still a placeholder; put the real value there.`)
    return value
  }
  const uri = (name: string): string => {
    const value = member(name)
    return URL.canParse(value) ? value : fail(`: "${name}" in "${type}" must be a URL.`)
  }
  const redirectUris = section.redirect_uris ?? []
  if (!Array.isArray(redirectUris) || !redirectUris.every((item) => typeof item === 'string')) {
    return fail(`: "redirect_uris" in "${type}" must be an array of strings.`)
  }
  return {
    type,
    clientId: member('client_id'),
    ...(section.client_secret === undefined ? {} : { clientSecret: member('client_secret') }),
    redirectUris,
    authUri: uri('auth_uri'),
    tokenUri: uri('token_uri'),
    raw: section,
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
