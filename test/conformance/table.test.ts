/** What docs/conformance.md says about modules of the conformance suite, next to the tests that have their names. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const table = readFileSync(join(here, '../../docs/conformance.md'), 'utf8')

/** Every row: the module, and the files that it is reproduced in. */
const rows = [...table.matchAll(/^\| `([\w-]+)` \| (.+?) \| (.+?) \|$/gm)].map(([, module = '', where = '']) => ({
  module,
  files: [...where.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
}))

/** The same of the names of tests, without those that are skipped or commented out. */
const named = readdirSync(here)
  .filter((file) => file.endsWith('.test.ts'))
  .flatMap((file) => {
    const name = /^ *(?:test|test\.each\(\w+\)|\]\))\('((?:oidcc|fapi2)-[\w-]*client-[\w-]+)/gm
    const modules = [...readFileSync(join(here, file), 'utf8').matchAll(name)].map(([, module]) => module)
    return [...new Set(modules)].map((module) => `${file} ${module}`)
  })

test('each module that the table says to be reproduced has a test by its name there, and the other way round', () => {
  const listed = rows.flatMap(({ module, files }) => files.map((file) => `${file} ${module}`))
  expect(listed.sort()).toEqual(named.sort())
  expect(named.length).toBeGreaterThan(70)
})

test('each module is in the table once, and those that are not reproduced say why', () => {
  const modules = rows.map(({ module }) => module)
  expect(modules).toEqual([...new Set(modules)])
  const without = table.split('\n').filter((line) => line.includes('| not reproduced |'))
  expect(without.length).toBe(rows.filter(({ files }) => files.length === 0).length)
  for (const line of without) expect(line).toMatch(/\| not reproduced \| .{8,} \|$/)
})
