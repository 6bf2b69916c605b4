/** Where the packages that not everybody needs are not installed: only the requirements of this one are. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compileSources } from '../helpers/processes.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'missing-peers-'))
  const compiled = await compileSources(['src/google/index', 'src/storage/keyring', 'src/telemetry/opentelemetry'])
  await cp(compiled.folder, folder, { recursive: true })
  await compiled.remove()
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) {
    await mkdir(dirname(join(folder, 'node_modules', name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

async function outcome(module: string, use: string): Promise<string> {
  const code = `import * as it from ${JSON.stringify(join(folder, `src/${module}.js`))}
    try { ${use}; console.log('fine') } catch (error) { console.log(error.code, error.message) }`
  const env = { PATH: process.env.PATH, HOME: folder, METADATA_SERVER_DETECTION: 'none' }
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env })
  return stdout.trim()
}

const missing = (name: string) =>
  `FST_OAUTH2_PEER_MISSING The package "${name}" is needed for this and is not installed. Run: npm install ${name}`

test('google-auth-library: said by what needs it, when it is needed', async () => {
  const source = '{ getAccessToken: async () => ({ token: "t" }) }'
  expect(await outcome('google/index', `it.toGoogleAuth(${source})`)).toBe(missing('google-auth-library'))
  expect(await outcome('google/index', 'await it.applicationDefaultCredentials()')).toBe(missing('google-auth-library'))
  const base = 'class { transporter = {} }'
  expect(await outcome('google/index', `it.toGoogleAuth(${source}, { AuthClient: ${base} })`)).toBe('fine')
})

test('@napi-rs/keyring: said by the first use, and no file is left', async () => {
  const use = 'await it.keyringStore({ service: "s" }).put("k", "v")'
  expect(await outcome('storage/keyring', use)).toBe(missing('@napi-rs/keyring'))
})

test('@opentelemetry/api: said by whoever asks for it', async () => {
  expect(await outcome('telemetry/opentelemetry', 'await it.openTelemetry()')).toBe(missing('@opentelemetry/api'))
})
