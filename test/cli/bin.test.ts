import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Installed, install } from './installed.js'

let installed: Installed
beforeAll(async () => {
  installed = await install()
})
afterAll(() => installed.remove())

test('the file that package.json names begins with a shebang and passes exit codes on', async () => {
  const { bin, version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(Object.keys(bin)).toEqual(['oauth2client'])
  const script = join(installed.app, '../elsewhere/node_modules/fastify-oauth2client', bin.oauth2client)
  expect(await readFile(script, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  expect(await installed.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  expect((await installed.run(['keygen'])).stdout).toMatch(/^[\w-]{43}\n$/)
  expect(await installed.run(['kegen'])).toMatchObject({ code: 2, stdout: '' })
})

// One after the other: each step installs what the last one asked for.
test('migrate names what is missing and how to install it, and takes drivers from where it runs', async () => {
  const url = 'postgres://app:p%40ssw0rd@127.0.0.1:1/app'
  const sqlite = ['migrate', '--url', 'sqlite:app.sqlite']
  const missing = (name: string) => ({
    code: 1,
    stdout: '',
    stderr: `oauth2client migrate: The package "${name}" is needed for this and is not installed. Run: npm install ${name} (FST_OAUTH2_PEER_MISSING)\n`,
  })
  expect(await installed.run(sqlite)).toEqual(missing('kysely'))
  expect(await installed.run(['migrate', '--print', '--dialect', 'sqlite'])).toEqual(missing('kysely'))
  await installed.add('kysely')
  expect(await installed.run(['migrate', '--print', '--dialect', 'postgres'])).toMatchObject({ code: 0, stderr: '' })
  expect(await installed.run(['migrate'], { DATABASE_URL: url })).toEqual(missing('pg'))
  expect(await installed.run(['migrate', '--url', 'mysql://127.0.0.1:1/app'])).toEqual(missing('mysql2'))
  await installed.add('pg')
  const { code, stderr } = await installed.run(['migrate'], { DATABASE_URL: url })
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'oauth2client migrate: connect ECONNREFUSED 127.0.0.1:1\n' })
})

test('migrate creates the tables and ends', async () => {
  if (!process.getBuiltinModule('node:sqlite')) await installed.add('libsql')
  const created = await installed.run(['migrate', '--url', 'sqlite:app.sqlite'])
  expect(created).toEqual({
    code: 0,
    stdout: 'oauth2_credentials: created\noauth2_credentials_leases: created\n',
    stderr: '',
  })
})
