/** `oauth2client <command>`: finds the command and runs it. Called by `cli/bin`, and by tests with streams of their own. */
import { readFile } from 'node:fs/promises'
import { type Command, type Io, OK, report, UsageError } from './command.js'
import { doctor } from './doctor.js'
import { init } from './init.js'
import { keygen } from './keygen.js'
import { list } from './list.js'
import { login } from './login.js'
import { migrate } from './migrate.js'
import { revoke } from './revoke.js'
import { token } from './token.js'

const COMMANDS: readonly Command[] = [init, login, token, list, revoke, keygen, migrate, doctor]

const width = Math.max(...COMMANDS.map(({ name }) => name.length))
const HELP = `Usage: oauth2client <command> [options]

Commands:
${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n')}

Options:
  -h, --help     this text, or that of a command: oauth2client <command> --help
  -v, --version  the version

Exit codes: 0 done, 1 failed, 2 called wrongly.
`

/** @returns the exit code */
export async function main(args: readonly string[], io: Io): Promise<number> {
  const [first, ...rest] = args
  const command = COMMANDS.find(({ name }) => name === first)
  if (command) return command.run(rest, io)
  try {
    if (first === '--help' || first === '-h') {
      io.stdout.write(HELP)
      return OK
    }
    if (first === '--version' || first === '-v') {
      io.stdout.write(`${await version()}\n`)
      return OK
    }
    // What was written is not repeated: it may be an address with a password in it.
    throw new UsageError(`${first === undefined ? 'no' : 'unknown'} command. There is ${listed()}.`)
  } catch (error) {
    return report('', error, io)
  }
}

const listed = () => COMMANDS.map(({ name }) => name).join(', ')

async function version(): Promise<string> {
  // As far from here in `src` as in `dist`.
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
