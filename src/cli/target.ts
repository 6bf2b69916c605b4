/** Which client, whose credentials, and where they are: what `login` is told, and what later commands remember of it. */
import { resolve } from 'node:path'
import { CredentialManager } from '../credentials/manager.js'
import type { UserOAuth2 } from '../credentials/user.js'
import { ClientMismatchError, OptionError } from '../errors.js'
import { isSecureUrl } from '../provider/http.js'
import type { ProviderOptions } from '../provider/preset.js'
import * as presets from '../provider/presets/index.js'
import { parseScopes } from '../provider/scopes.js'
import type { ClientOptions } from '../registration/provider.js'
import { readClientKey } from './client-key.js'
import { type Io, UsageError } from './command.js'
import { type Login, readLogins } from './places.js'
import { type OpenStore, openStore } from './store.js'

/** For `defineCommand`. */
export const TARGET_OPTIONS = {
  'client-secrets': { type: 'string' },
  'client-id': { type: 'string' },
  'client-key': { type: 'string' },
  issuer: { type: 'string' },
  provider: { type: 'string' },
  name: { type: 'string' },
  user: { type: 'string' },
  store: { type: 'string' },
  'key-file': { type: 'string' },
} as const

export const TARGET_HELP = `  --client-secrets <file>  the client_secrets.json of this client
  --client-id <id>         who we are, without such a file; a secret goes into OAUTH2_CLIENT_SECRET of the environment
  --client-key <file>      the private key of this client, as PEM or JWK, where it has one. Default: OAUTH2_CLIENT_KEY of the
                           environment, which holds the key itself
  --issuer <url>           the provider, by discovery
  --provider <name>        a provider by the name of its preset, such as google
  --user <key>             whose credentials. Default: default
  --name <name>            the "name" of the registration. Default: oauth2
  --store <where>          file:<path>, sqlite:<path>, postgres://... or mysql://...; one with a password is best in OAUTH2_STORE of
                           the environment, where other users of the machine do not see it. Default: a file in your
                           configuration folder, sealed with a key beside it
  --key-file <path>        keys of the store, one a line. Default: OAUTH2_KEY of the environment; the default store has its own
`

type Values = { readonly [K in keyof typeof TARGET_OPTIONS]?: string | undefined }

/** Everything a command needs to reach credentials. Has to be closed. */
export interface Target {
  readonly name: string
  readonly user: string
  readonly account: string | undefined
  /** What to write down after a login. */
  readonly login: Login
  readonly client: ClientOptions
  readonly manager: CredentialManager
  readonly open: OpenStore
}

/** What the command line says, completed by what the last login under that name was told. */
async function specified(values: Values, io: Io): Promise<{ name: string; login: Login; known: boolean }> {
  for (const [option, value] of Object.entries(values)) if (value === '') throw new UsageError(`--${option} is empty.`)
  const logins = await readLogins(io)
  const whole = (path: string | undefined) => path && resolve(io.cwd, path)
  const client = {
    clientSecrets: whole(values['client-secrets']),
    clientId: values['client-id'],
    issuer: values.issuer,
    provider: values.provider,
  }
  const told = Object.values(client).some((value) => value !== undefined)
  const name = values.name ?? (told ? undefined : logins?.last) ?? 'oauth2'
  const before = logins?.logins[name]
  const { clientSecrets, clientId, issuer, provider } = before ?? {}
  const clientKey = whole(values['client-key']) ?? (told ? undefined : before?.clientKey)
  const store = values.store ?? (io.env.OAUTH2_STORE || undefined)
  const elsewhere = store !== undefined || values['key-file'] !== undefined
  const login: Login = {
    ...definedOnly(told ? client : { clientSecrets, clientId, issuer, provider }),
    ...definedOnly({ clientKey }),
    ...definedOnly(
      elsewhere
        ? { store, keyFile: whole(values['key-file']) }
        : told
          ? {}
          : { store: before?.store, keyFile: before?.keyFile },
    ),
    ...(!told && before?.secretInEnv ? { secretInEnv: true } : {}),
    ...(!told && before?.keyInEnv && clientKey === undefined ? { keyInEnv: true } : {}),
    user: values.user ?? (told ? 'default' : (before?.user ?? 'default')),
    ...definedOnly({ account: told || (values.user ?? before?.user) !== before?.user ? undefined : before?.account }),
  }
  return { name, login, known: told || before !== undefined }
}

/** @returns `undefined` when nobody logged in yet and the command line does not say who */
export async function findTarget(values: Values, io: Io, create = false): Promise<Target | undefined> {
  const { name, login, known } = await specified(values, io)
  if (!known) {
    if (!create) return undefined
    throw new UsageError('which client? Write --client-secrets, or --client-id with --issuer or --provider.')
  }
  const clientKey = readClientKey(login.clientKey, io)
  const client: ClientOptions = { ...optionsOf(login, io), ...definedOnly({ clientKey }) }
  if (login.keyInEnv && clientKey === undefined) {
    throw new UsageError('this login took the client key from OAUTH2_CLIENT_KEY, which is not set now.')
  }
  if (login.secretInEnv && !client.clientSecret) {
    throw new UsageError('this login took the client secret from OAUTH2_CLIENT_SECRET, which is not set now.')
  }
  const open = await openStore(login, io, create)
  if (!open) return undefined
  try {
    const manager = new CredentialManager({
      ...client,
      name,
      storage: open.store,
      encryptionKeys: open.keys,
      // There is nothing after a command in which it could go on.
      backgroundRefresh: false,
      cacheMaxAge: 0,
    })
    const remembered = {
      ...login,
      ...(client.clientSecret ? { secretInEnv: true } : {}),
      ...(clientKey !== undefined && login.clientKey === undefined ? { keyInEnv: true } : {}),
    }
    return { name, user: login.user, account: login.account, login: remembered, client, manager, open }
  } catch (error) {
    await open.store.close()
    throw error
  }
}

/** The same for commands that need somebody to be logged in. @throws Error that says how */
export async function needTarget(values: Values, io: Io): Promise<Target> {
  const target = await findTarget(values, io)
  if (!target) throw new Error('nobody is logged in. Run: oauth2client login --client-secrets client_secrets.json')
  return target
}

/** Runs something with a target and lets go of everything afterwards. Errors lose what a database would tell. */
export async function withTarget<T>(target: Target, use: (target: Target) => Promise<T>): Promise<T> {
  try {
    return await use(target)
  } catch (error) {
    for (let e = error; e instanceof Error; e = e.cause) {
      const message = target.open.redact(e.message)
      // That of a DOMException, such as an AbortSignal's, cannot be set.
      if (message !== e.message) e.message = message
    }
    throw error
  } finally {
    await target.manager.close()
    await target.open.store.close()
  }
}

/** The user's credentials, loaded. @throws Error for records of another client, with what to do */
export async function userOf({ manager, user, name }: Target): Promise<UserOAuth2> {
  try {
    return await manager.user(user)
  } catch (error) {
    if (!(error instanceof ClientMismatchError)) throw error
    throw new Error(
      `what is stored for the user "${user}" under the name "${name}" belongs to another client. Choose another --name or --user.`,
      { cause: error },
    )
  }
}

/** What the command line alone says about the client, complete or not, and without its key. */
export function clientOf(values: Values, io: Io): ClientOptions {
  const path = values['client-secrets']
  return optionsOf(
    definedOnly({
      clientSecrets: path === undefined ? undefined : resolve(io.cwd, path),
      clientId: values['client-id'],
      issuer: values.issuer,
      provider: values.provider,
    }),
    io,
  )
}

function optionsOf(login: Partial<Login>, { env }: Io): ClientOptions {
  const clientSecret = env.OAUTH2_CLIENT_SECRET || undefined
  return {
    ...definedOnly({
      provider: providerOf(login),
      clientId: login.clientId,
      clientSecretsFile: login.clientSecrets,
      // A file has its own.
      clientSecret: login.clientSecrets === undefined ? clientSecret : undefined,
    }),
  }
}

/** The value of `--scopes`. @throws {UsageError} */
export function scopesOf(value: string | undefined): string[] | undefined {
  if (value === undefined) return undefined
  return worded('--scopes holds something that is no scope: write --scopes "openid email".', () => parseScopes(value))
}

/** What an option of the library is called where it came from. */
function worded<T>(problem: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof OptionError ? new UsageError(problem, { cause: error }) : error
  }
}

function providerOf({ provider, issuer }: Partial<Login>): ProviderOptions | undefined {
  if (issuer !== undefined && !(URL.canParse(issuer) && isSecureUrl(new URL(issuer)))) {
    throw new UsageError('--issuer is an https URL, such as https://login.example.com (http on this machine only).')
  }
  if (provider === undefined) return issuer === undefined ? undefined : { issuer }
  const known = Object.entries(presets).filter(([, value]) => typeof value === 'function')
  const preset = known.find(([name]) => name === provider)?.[1] as
    | ((options: { issuer?: string }) => ProviderOptions)
    | undefined
  if (!preset)
    throw new UsageError(`--provider knows ${known.map(([name]) => name).join(', ')}; others have an --issuer.`)
  return worded(`--provider ${provider} goes with --issuer <url>.`, () =>
    preset(issuer === undefined ? {} : { issuer }),
  )
}

function definedOnly<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
