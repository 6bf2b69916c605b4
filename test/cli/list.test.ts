import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import { fileStore } from '../../src/storage/file.js'
import { run } from './run.js'

test('an e-mail address cannot move the cursor or write a line of its own', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'list-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'credentials.json')
  const OAUTH2_KEY = 'k'.repeat(43)
  const issuer = 'https://login.example.com'
  const storage = fileStore({ path })
  const manager = new CredentialManager({
    provider: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      revoke: async () => true,
    },
    clientId: 'terminal',
    storage,
    encryptionKeys: [OAUTH2_KEY],
  })
  const credentials = new Credentials({
    accessToken: 'at',
    issuer,
    clientId: 'terminal',
    userId: 'sub',
    email: 'a\u001b[2J\n\t\u009b1A\u202eb@example.com',
  })
  await (await manager.user('default')).adopt(credentials)
  await manager.close()
  await storage.close()

  const args = ['list', '--client-id', 'terminal', '--issuer', issuer, '--store', `file:${path}`]
  const { code, stdout, stderr } = await run(args, { env: { OAUTH2CLIENT_HOME: folder, OAUTH2_KEY } })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^default\ta\[2J1Ab@example\.com\tactive, [^\n]*\n$/)
})
