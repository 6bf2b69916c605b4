/** `oauth2client revoke`: ends a grant, here and at the provider. */
import type { RevocationOutcome } from '../flows/revocation.js'
import { defineCommand, FAILED, OK, printable, UsageError } from './command.js'
import { needTarget, TARGET_HELP, TARGET_OPTIONS, userOf, withTarget } from './target.js'

const HELP = `Usage: oauth2client revoke [--account <id> | --all] [options]

Removes what is stored for the user, and asks the provider to forget it too. Apps on the same store lose it as well.

Options:
  --account <id>           one of several accounts of the user; see "oauth2client list"
  --all                    all of them
${TARGET_HELP}  --json                   [{ "account": ..., "remote": "revoked" | "failed" | "unsupported" }]
  -h, --help               this text

Exit code 1 when there was nothing to revoke, or the provider could not be told.
`

export const revoke = defineCommand({
  name: 'revoke',
  summary: 'ends a grant, here and at the provider',
  help: HELP,
  options: {
    ...TARGET_OPTIONS,
    account: { type: 'string' },
    all: { type: 'boolean' },
    json: { type: 'boolean' },
  },
  async run(values, io) {
    if (values.all && values.account !== undefined) throw new UsageError('--all and --account exclude each other.')
    return withTarget(await needTarget(values, io), async (target) => {
      const user = await userOf(target)
      const accounts = user.accounts().filter(({ id }) => values.account === undefined || id === values.account)
      if (accounts.length === 0) throw new Error('there is nothing to revoke. See: oauth2client list')
      if (accounts.length > 1 && !values.all) {
        throw new UsageError(
          `the user has ${accounts.length} accounts: write --account, or --all. See: oauth2client list`,
        )
      }
      const outcomes: { account: string; remote: RevocationOutcome }[] = []
      for (const { id, email } of accounts) {
        const { remote } = await user.account(id).revoke()
        outcomes.push({ account: id, remote })
        if (!values.json) io.stdout.write(`${printable(email ?? id)}: ${WORDS[remote]}\n`)
      }
      if (values.json) io.stdout.write(`${JSON.stringify(outcomes)}\n`)
      return outcomes.some(({ remote }) => remote === 'failed') ? FAILED : OK
    })
  },
})

const WORDS: Readonly<Record<RevocationOutcome, string>> = {
  revoked: 'revoked',
  failed: 'removed here; the provider could not be told. Remove the access in the settings of your account there.',
  unsupported:
    'removed here; the provider has no way to be told. Remove the access in the settings of your account there.',
}
