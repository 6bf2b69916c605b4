import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { run } from './run.js'

let folder: string
let env: Record<string, string>
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usage-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  env = { OAUTH2CLIENT_HOME: join(folder, 'home'), OAUTH2_KEY: 'k'.repeat(43) }
})

describe.each(['login', 'token', 'doctor'])('%s', (command) => {
  test.each([
    [
      'a provider that needs an issuer',
      ['--client-id', 'x', '--provider', 'okta'],
      /--provider okta goes with --issuer/,
    ],
    ['an issuer that is no URL', ['--client-id', 'x', '--issuer', 'nourl'], /--issuer is an https URL/],
    [
      'an issuer that anybody can read',
      ['--client-id', 'x', '--issuer', 'http://login.example'],
      /--issuer is an https/,
    ],
    ['one for a preset', ['--client-id', 'x', '--provider', 'okta', '--issuer', 'nourl'], /--issuer is an https URL/],
  ])('%s is wrong usage, in the words of the command line', async (_, args, message) => {
    const { code, stderr } = await run([command, ...args], { env })
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('provider.issuer')
  })
})

test.each(['login', 'token'])('%s: a value of --scopes that is no scope is wrong usage', async (command) => {
  const client = ['--client-id', 'x', '--issuer', 'http://127.0.0.1:1']
  const { code, stderr } = await run([command, ...client, '--scopes', 'a "b"'], { env })
  expect(code).toBe(2)
  expect(stderr).toMatch(/: --scopes holds something that is no scope/)
})
