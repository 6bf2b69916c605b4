/** The kit in the hands of those who use it: the same tests of an app, and of a store, under each runner, with the built package. */
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { installPackage } from '../helpers/build.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const suite = fileURLToPath(new URL('./runners/suite.mjs', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'runners-'))
afterAll(() => rm(folder, { recursive: true }))

beforeAll(async () => {
  const tools = ['vitest', 'jest', '@jest/globals']
  await installPackage(folder, ['fastify', '@fastify/cookie', '@fastify/session', 'oidc-provider', ...tools])
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await copyFile(suite, join(folder, 'suite.js'))
  // As docs/testing.md has it; this machine may be busy.
  const page = await readFile(join(root, 'docs/testing.md'), 'utf8')
  const config = /^```js\n(\/\/ jest\.config\.js.*?)^```/ms.exec(page)?.[1] as string
  await writeFile(join(folder, 'jest.config.js'), config.replace('{ ', '{ testTimeout: 60_000, '))
}, 60_000)

interface Runner {
  readonly from: string
  readonly args: readonly string[]
  /** How many passed, by what it printed. */
  readonly passed: (output: string) => number
}

const byJson = (output: string): number => JSON.parse(output).numPassedTests

const RUNNERS: Readonly<Record<string, Runner>> = {
  'node:test': {
    from: 'node:test',
    args: ['--test', '--test-reporter=tap', 'node.test.js'],
    passed: (output) => Number(/^# pass (\d+)$/m.exec(output)?.[1]),
  },
  vitest: {
    from: 'vitest',
    args: ['node_modules/vitest/vitest.mjs', 'run', '--reporter=json', '--testTimeout=60000', 'vitest.test.js'],
    passed: byJson,
  },
  jest: {
    from: '@jest/globals',
    args: ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js', '--json', 'jest.test.js'],
    passed: byJson,
  },
}

test.each(Object.entries(RUNNERS))('%s', { timeout: 120_000 }, async (name, { from, args, passed }) => {
  const file = `${name.replace(':test', '')}.test.js`
  const run = `import { describe, test } from '${from}'\nimport { suite } from './suite.js'\n\nsuite({ describe, test })\n`
  await writeFile(join(folder, file), run)
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^(VITEST|TEST$|NODE_ENV|NODE_OPTIONS|NODE_TEST)/.test(key)),
  )
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env }).catch((error) => {
    throw new Error(`${error.stdout}\n${error.stderr}`)
  })
  expect(passed(stdout)).toBeGreaterThan(20)
  counts.add(passed(stdout))
  expect([...counts], 'all run the same').toHaveLength(1)
})

const counts = new Set<number>()
