/** `oauth2client list`: what is stored, without its secrets. */
import type { ConnectedAccount } from '../credentials/connected-account.js'
import { OAuth2ClientError } from '../errors.js'
import { defineCommand, OK, printable, UsageError } from './command.js'
import { findTarget, TARGET_HELP, TARGET_OPTIONS, type Target, withTarget } from './target.js'

const HELP = `Usage: oauth2client list [options]

Lists whose credentials are stored and how they are doing. Refreshes nothing and shows no token.

Options:
${TARGET_HELP}  --json                   one array: [{ "user": ..., "account": ..., "status": ..., "scopes": [...], ... }]
  -h, --help               this text
`

interface Row extends Partial<ConnectedAccount> {
  readonly user: string
  /** Of an error, where the record cannot be read. */
  readonly code?: string
}

export const list = defineCommand({
  name: 'list',
  summary: 'lists what is stored, without its secrets',
  help: HELP,
  options: { ...TARGET_OPTIONS, json: { type: 'boolean' } },
  async run(values, io) {
    const { stdout, stderr } = io
    const target = await findTarget(values, io)
    const rows = target ? await withTarget(target, () => rowsOf(target, values.user)) : []
    if (values.json) {
      const shown = rows.map(({ id, ...row }) => ({ ...row, ...(id === undefined ? {} : { account: id }) }))
      stdout.write(`${JSON.stringify(shown)}\n`)
    } else if (rows.length === 0) stderr.write('Nobody is logged in.\n')
    else for (const row of rows) stdout.write(`${text(row)}\n`)
    return OK
  },
})

async function rowsOf({ manager, open: { store } }: Target, user: string | undefined): Promise<Row[]> {
  if (!store.list) throw new UsageError('this store cannot list what is in it.')
  const users: string[] = []
  if (user !== undefined) users.push(user)
  else
    for await (const key of store.list(manager.prefix)) users.push(decodeURIComponent(key.slice(manager.prefix.length)))
  const rows: Row[] = []
  for (const one of users.sort()) {
    try {
      rows.push(...(await manager.user(one)).accounts().map((account) => ({ user: one, ...account })))
    } catch (error) {
      // One that belongs to another client, or cannot be opened, is no reason to hide the others.
      if (!(error instanceof OAuth2ClientError) || error.code === 'FST_OAUTH2_STORE_UNAVAILABLE') throw error
      rows.push({ user: one, code: error.code })
    }
  }
  return rows
}

function text({ user, code, id, email, status, reason, expiresAt, refreshable, scopes = [] }: Row): string {
  if (code) return `${printable(user)}\t-\t${code}`
  const expiry = expiresAt === undefined ? '' : `, access token until ${new Date(expiresAt).toISOString()}`
  const doing = `${status}${reason ? ` (${reason})` : ''}${refreshable ? '' : ', cannot be refreshed'}${expiry}`
  return [user, email ?? id ?? '', doing, scopes.join(' ')].map(printable).join('\t')
}
