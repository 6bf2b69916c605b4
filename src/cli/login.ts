/** `oauth2client login`: a person signs in, and what they granted is stored for later commands and for apps. */
import type { Credentials } from '../credentials/credentials.js'
import { type AuthorizedUserClient, writeAuthorizedUserFile } from '../google/well-known-file.js'
import { type AuthorizationOptions, wantedOf } from '../installed/authorization.js'
import type { Provider } from '../provider/provider.js'
import { defineCommand, type Io, OK, printable, UsageError } from './command.js'
import { rememberLogin } from './places.js'
import { sign, signAnyWay } from './sign-in.js'
import { findTarget, scopesOf, TARGET_HELP, TARGET_OPTIONS, type Target, userOf, withTarget } from './target.js'

const HELP = `Usage: oauth2client login --client-secrets <file> [--scopes <scopes>] [options]
       oauth2client login --client-id <id> --issuer <url> [--scopes <scopes>] [options]

Signs in, and stores what was granted, for "oauth2client token" and for apps on the same store.

  npx fastify-oauth2client login --client-secrets client_secrets.json --scopes "openid email"
  curl -H "Authorization: Bearer $(npx fastify-oauth2client token)" https://api.example.com/

The browser comes back to a port of this machine. Where there is no browser, a code is shown to enter on another device;
where the provider has no such thing either, the address that another machine's browser ended at is pasted.

Options:
  --scopes <scopes>        what to ask for, besides what was granted before. Default: openid email
  --browser                come back to a port of this machine, whether or not a browser can be seen
  --device                 show a code to enter on another device
  --no-browser             sign in elsewhere, and paste the address that the browser ends at
  --adc                    write the credentials also where Google's libraries look for them (application default credentials)
  --port <number>          the port to come back to, where the provider insists on one. Default: any free one
  --login-hint <account>   who will sign in, for the provider's form
  --prompt <what>          consent, select_account, login: have the provider ask again
  --timeout <seconds>      how long to wait for the person. Default: 300, and for a code what the provider says
${TARGET_HELP}  --json                   { "user": ..., "account": ..., "email": ..., "scopes": [...], ... }
  -h, --help               this text
`

export const login = defineCommand({
  name: 'login',
  summary: 'signs in and stores what was granted',
  help: HELP,
  options: {
    ...TARGET_OPTIONS,
    scopes: { type: 'string' },
    browser: { type: 'boolean' },
    device: { type: 'boolean' },
    'no-browser': { type: 'boolean' },
    adc: { type: 'boolean' },
    port: { type: 'string' },
    'login-hint': { type: 'string' },
    prompt: { type: 'string' },
    timeout: { type: 'string' },
    json: { type: 'boolean' },
  },
  async run(values, io) {
    const { browser, device, 'no-browser': paste, json = false } = values
    if ([browser, device, paste].filter(Boolean).length > 1) {
      throw new UsageError('--browser, --device and --no-browser exclude each other.')
    }
    const port = wholeNumber('port', values.port, 65_535)
    const timeout = wholeNumber('timeout', values.timeout, 86_400)
    const scopes = scopesOf(values.scopes)
    const target = (await findTarget(values, io, true)) as Target
    return withTarget(target, async () => {
      const { manager, client } = target
      const adcClient = values.adc ? clientForAdc(target) : undefined
      // What apps have sealed there must stay theirs to open: nothing is written with keys that they lack.
      await manager.registry?.check(manager.registration.keys)
      const stored = await userOf(target)
      const { provider } = manager.registration
      const options: AuthorizationOptions = {
        ...client,
        ...(await asked(provider, stored, scopes)),
        // The file needs a refresh token of its own account, whatever is stored.
        ...(adcClient ? { prompt: 'consent' } : {}),
        ...(values.prompt === undefined ? {} : { prompt: values.prompt }),
        ...(values['login-hint'] === undefined ? {} : { loginHint: values['login-hint'] }),
      }
      const way = browser ? 'browser' : device ? 'device' : paste ? 'paste' : undefined
      const waiting = { port, timeout }
      const credentials = await (way ? sign(way, options, waiting, io) : signAnyWay(provider, options, waiting, io))
      await stored.adopt(credentials)
      await rememberLogin(io, target.name, remembered(target, credentials, io))
      tell(target, credentials, options, json, io)
      if (adcClient) {
        const file = await writeAuthorizedUserFile(undefined, credentials, adcClient)
        io.stderr.write(`Google's libraries find it in ${file}\n`)
      }
      if (!credentials.refreshToken && !stored.accounts().some(({ refreshable }) => refreshable)) {
        io.stderr.write('The provider granted no lasting access: log in again when the access token expires.\n')
      }
      return OK
    })
  },
})

/** @throws {UsageError} for a client that Google's libraries could do nothing with */
function clientForAdc({ manager }: Target): AuthorizedUserClient {
  const { clientId, clientSecret, options } = manager.registration.provider
  // Of all providers, Google's is the one that is told by this parameter how lasting access is wanted.
  if (options.offline?.params?.access_type !== 'offline') {
    throw new UsageError('--adc is for Google: write --provider google, or the client_secrets.json of a Google client.')
  }
  if (!clientSecret) throw new UsageError('--adc writes the secret of the client too, and this one has none.')
  return { clientId, clientSecret }
}

/** What to ask for: everything that was granted before too, so that a login for more does not end with less. */
async function asked(
  provider: Provider,
  stored: { readonly scopes: readonly string[]; accounts(): { readonly refreshable: boolean }[] },
  scopes: readonly string[] | undefined,
): Promise<Pick<AuthorizationOptions, 'scopes' | 'prompt' | 'authorizationParams'>> {
  const wanted = await wantedOf(provider, scopes === undefined ? {} : { scopes })
  const { incrementalParams, offline } = provider.options
  // Providers such as Google hand out a refresh token with consent only, and consent was given before.
  const again = offline?.params !== undefined && !stored.accounts().some(({ refreshable }) => refreshable)
  return {
    scopes: provider.scopes.union(wanted.scopes, stored.scopes),
    ...(again ? { prompt: 'consent' } : {}),
    ...(incrementalParams ? { authorizationParams: incrementalParams } : {}),
  }
}

function remembered({ login, open }: Target, credentials: Credentials, io: Io) {
  const { store: _store, account: _before, ...rest } = login
  if (login.store !== undefined && open.remembered === undefined) {
    io.stderr.write(
      'The address of the store holds a password and is not remembered: pass it again, best as OAUTH2_STORE.\n',
    )
  }
  return {
    ...rest,
    ...(open.remembered === undefined ? {} : { store: open.remembered }),
    ...(credentials.userId === undefined ? {} : { account: credentials.userId }),
  }
}

function tell(
  { user, open, manager }: Target,
  credentials: Credentials,
  { scopes: requested }: AuthorizationOptions,
  json: boolean,
  { stdout, stderr }: Io,
): void {
  const { scopes, email, userId, expiresAt } = credentials
  const declined = manager.registration.provider.scopes
    .missing(scopes, requested as readonly string[])
    .filter((scope) => scope !== 'offline_access')
  if (json) {
    const account = userId ?? null
    const told = { user, account, email: email ?? null, scopes, declined, expiresAt: expiresAt ?? null }
    stdout.write(`${JSON.stringify({ ...told, store: open.label })}\n`)
    return
  }
  const who = email ?? userId
  stdout.write(`Logged in${who ? ` as ${printable(who)}` : ''}. Stored for the user "${user}" in ${open.label}\n`)
  stdout.write(`Granted: ${scopes.join(' ') || 'nothing in particular'}\n`)
  if (declined.length > 0) stderr.write(`Not granted: ${declined.join(' ')}\n`)
}

function wholeNumber(option: string, value: string | undefined, most: number): number | undefined {
  if (value === undefined) return undefined
  const number = /^\d{1,6}$/.test(value) ? Number(value) : Number.NaN
  if (number >= 1 && number <= most) return number
  throw new UsageError(`--${option} is a whole number from 1 to ${most}.`)
}
