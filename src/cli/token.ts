/** `oauth2client token`: an access token that works, for scripts. */
import { CredentialsRequiredError, InsufficientScopeError } from '../errors.js'
import { defineCommand, OK, UsageError } from './command.js'
import { needTarget, scopesOf, TARGET_HELP, TARGET_OPTIONS, userOf, withTarget } from './target.js'

const HELP = `Usage: oauth2client token [--scopes <scopes>] [options]

Prints an access token that works, and nothing else. Refreshes it first where it has expired or is about to, once for all
processes that ask at the same time.

  curl -H "Authorization: Bearer $(npx fastify-oauth2client token)" https://api.example.com/

Without options, it is about what the last "oauth2client login" was about.

Options:
  --scopes <scopes>        fails unless these were granted
  --account <id>           one of several accounts of the user. Default: the one that logged in last
${TARGET_HELP}  --json                   { "token": ..., "expiresAt": ..., "scopes": [...] }, expiresAt in milliseconds since 1970
  -h, --help               this text
`

export const token = defineCommand({
  name: 'token',
  summary: 'prints an access token that works',
  help: HELP,
  options: {
    ...TARGET_OPTIONS,
    scopes: { type: 'string' },
    account: { type: 'string' },
    json: { type: 'boolean' },
  },
  async run(values, io) {
    const needed = scopesOf(values.scopes) ?? []
    return withTarget(await needTarget(values, io), async (target) => {
      const user = await userOf(target)
      const id = values.account ?? target.account
      if (values.account !== undefined && !user.accounts().some((account) => account.id === id)) {
        throw new UsageError('--account names none of the accounts. See: oauth2client list')
      }
      // The one that was remembered may have been revoked meanwhile.
      const account = id !== undefined && user.accounts().some((known) => known.id === id) ? user.account(id) : user
      if (needed.length > 0 && account.credentials && !account.hasCredentials(needed)) {
        throw new InsufficientScopeError({ cause: new Error(`run: oauth2client login --scopes "${needed.join(' ')}"`) })
      }
      const { token, expiresAt, scopes } = await account.getAccessToken().catch((error: unknown) => {
        if (!(error instanceof CredentialsRequiredError)) throw error
        throw new CredentialsRequiredError({ cause: new Error(`run: oauth2client login${hint(target)}`) })
      })
      io.stdout.write(
        values.json ? `${JSON.stringify({ token, expiresAt: expiresAt ?? null, scopes })}\n` : `${token}\n`,
      )
      return OK
    })
  },
})

const hint = ({ name, user }: { name: string; user: string }) =>
  `${name === 'oauth2' ? '' : ` --name ${name}`}${user === 'default' ? '' : ` --user "${user}"`}`
