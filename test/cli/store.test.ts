import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { run } from './run.js'

let folder: string
let env: Record<string, string>
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  env = { OAUTH2CLIENT_HOME: join(folder, 'home'), OAUTH2_KEY: 'k'.repeat(43) }
})

test.each(['doctor', 'token', 'list', 'revoke'])(
  '%s makes no database of a name that was typed wrongly',
  async (command) => {
    const path = join(folder, 'typo.db')
    // Nothing listens there; only doctor asks.
    const client = ['--client-id', 'terminal', '--issuer', 'http://127.0.0.1:1']
    const { code, stdout, stderr } = await run([command, ...client, '--store', `sqlite:${path}`], { env })
    expect(code).toBe(1)
    expect(stdout + stderr).toContain(`${path} is not there`)
    expect(existsSync(path)).toBe(false)
  },
)
