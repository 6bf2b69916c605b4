/** The tests on docs/testing.md pass as they are, with the package as it is published, under `node --test`. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'rolldown/utils'
import { afterAll, expect, test } from 'vitest'
import { installPackage } from '../helpers/build.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'testing-page-'))
afterAll(() => rm(folder, { recursive: true }))

test('what is on the page works', { timeout: 60_000 }, async () => {
  await installPackage(folder, ['fastify', '@fastify/cookie', '@fastify/session', 'oidc-provider'])
  const page = await readFile(join(root, 'docs/testing.md'), 'utf8')
  const files = [...page.matchAll(/^```ts\n\/\/ (\S+)\.ts\n(.*?)^```/gms)].map(([, name = '', text = '']) => ({
    name,
    text,
  }))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  for (const { name, text } of files)
    await writeFile(join(folder, `${name}.js`), (await transform(`${name}.ts`, text)).code)
  const tests = files.filter(({ name }) => name.endsWith('.test')).map(({ name }) => `${name}.js`)
  expect(tests).toHaveLength(3)
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', '--test-reporter=tap', ...tests], {
    cwd: folder,
    env,
  }).catch((error: { stdout: string }) => error)
  expect(stdout).toContain('# pass 4')
  expect(stdout).toContain('# fail 0')
})
