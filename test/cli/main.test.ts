import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { doctor } from '../../src/cli/doctor.js'
import { init } from '../../src/cli/init.js'
import { keygen } from '../../src/cli/keygen.js'
import { list } from '../../src/cli/list.js'
import { login } from '../../src/cli/login.js'
import { migrate } from '../../src/cli/migrate.js'
import { revoke } from '../../src/cli/revoke.js'
import { token } from '../../src/cli/token.js'
import { run } from './run.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const COMMANDS = [init, login, token, list, revoke, keygen, migrate, doctor]

describe('oauth2client', () => {
  test.each(['--help', '-h'])('%s lists every command and goes to stdout', async (flag) => {
    const { code, stdout, stderr } = await run([flag])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const { name, summary } of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'))
  })

  test.each(['--version', '-v'])('%s is the version of the package', async (flag) => {
    expect(await run([flag])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  test.each([
    ['no command', []],
    ['an unknown command', ['kegen']],
    ['an unknown option', ['--verbose']],
  ])('%s is wrong usage, said on stderr', async (_, args) => {
    const { code, stdout, stderr } = await run(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^oauth2client: .* See oauth2client --help\n$/)
  })
})

describe.each(COMMANDS.map((command) => [command.name, command] as const))('oauth2client %s', (name, { help }) => {
  test('--help goes to stdout, ends with 0 and does nothing', async () => {
    for (const flag of ['--help', '-h']) expect(await run([name, flag])).toEqual({ code: 0, stdout: help, stderr: '' })
    expect(help).toMatch(new RegExp(`^Usage: oauth2client ${name}\\b`))
  })

  test.each([
    ['an option that there is not', ['--bogus']],
    // One more than any of them takes.
    ['an argument that there is no use for', ['something', 'else']],
    ['the value of a flag', ['--json=yes']],
  ])('%s is wrong usage, said in one line', async (_, args) => {
    const { code, stdout, stderr } = await run([name, ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^oauth2client ${name}: [^\\n]+ See oauth2client ${name} --help\\n$`))
  })
})

test('what was typed wrongly is not repeated when it holds a password', async () => {
  const url = 'postgres://app:p@ssw0rd@db.example/app'
  for (const args of [
    [url],
    ['keygen', url],
    ['migrate', url],
    ['migrate', `--ulr=${url}`],
    ['migrate', `--print=${url}`],
    ['migrate', '--url', `-${url}`],
    ['migrate', '--url', `htp${url}`],
    ['migrate', '--print', '--dialect', url],
    ['login', '--client-id', 'x', '--issuer', 'https://login.example', '--store', `htp${url}`],
    ['login', '--client-id', 'x', '--issuer', 'https://login.example', url],
    ['token', url],
    ['migrate', '--url', url.replace('db.example', 'db example')],
  ]) {
    const { code, stdout, stderr } = await run(args)
    expect(code, args.join(' ')).toBe(2)
    expect(stdout + stderr, args.join(' ')).not.toContain('ssw0rd')
  }
})
