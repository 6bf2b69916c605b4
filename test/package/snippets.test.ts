import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { declaresClients, readSnippets } from '../helpers/snippets.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Inside of the package, so that its own name resolves as it does for those who install it.
const folder = join(root, 'test', '.snippets')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('every snippet of the README, the docs and the doc comments compiles', { timeout: 60_000 }, () => {
  const snippets = [...readSnippets()].filter(([, text]) => !declaresClients(text))
  expect(snippets.length).toBeGreaterThan(5)
  mkdirSync(folder, { recursive: true })
  const paths: Record<string, string[]> = {}
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const [subpath, target] of Object.entries<{ types?: string }>(exports)) {
    if (!target.types) continue
    const source = target.types.replace('./dist/', '../../src/').replace(/\.d\.ts$/, '.ts')
    paths[`fastify-oauth2client${subpath.slice(1)}`] = [source]
  }
  const compilerOptions = { noEmit: true, noUnusedLocals: false, noUnusedParameters: false, paths }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['**/*.ts'] }),
  )
  for (const [name, text] of snippets) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, `${name}.ts`), text)
  }
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    expect.fail((error as { stdout: string }).stdout)
  }
})
