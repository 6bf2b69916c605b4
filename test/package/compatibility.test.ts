/** What is promised about other packages, what npm is told, and what a workflow tests are the same. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const { engines, dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(read('package.json'))
const plugin = /fastify: '([^']+)'/.exec(read('src/plugin.ts'))?.[1]

const rows = [...read('docs/compatibility.md').matchAll(/^\| `?([^|`]+?)`? \| `([^`]+)` \| ([^|]+) \|$/gm)].map(
  ([, name = '', range = '', versions = '']) => ({ name, range, versions: versions.split(', ') }),
)
const jobs = [
  ...read('.github/workflows/compatibility.yml').matchAll(/with: '(.+)@([^@']+)'(?:, tests: '([^']+)')?/g),
].map(([, name = '', version = '', tests = '']) => ({ name, version, tests: tests.split(' ').filter(Boolean) }))

const parts = (version: string) => version.split('.').map(Number)
/** The lowest version of a range, and the first digits that the highest has. */
function boundsOf(range: string): { lowest: string; below: number[] } {
  const lowest = (/\d[\d.]*/.exec(range)?.[0] ?? '').replace(/\.$/, '')
  const below = /<(\d[\d.]*)/.exec(range)?.[1]
  return { lowest, below: below === undefined ? [] : parts(below) }
}

test('the table has the ranges that npm and Fastify are told', () => {
  const { TypeScript, Node, fastify, ...others } = Object.fromEntries(rows.map(({ name, range }) => [name, range]))
  expect(TypeScript).toMatch(/^>=/)
  expect(Node).toBe(engines.node)
  expect(fastify).toBe(plugin)
  for (const [name, range] of Object.entries(others))
    expect(range, name).toBe(peerDependencies[name] ?? dependencies[name])
  for (const name of Object.keys(peerDependencies)) {
    expect(others, 'docs/compatibility.md').toHaveProperty([name])
    // Nobody has all of them.
    expect(peerDependenciesMeta[name]).toEqual({ optional: true })
  }
})

test('the workflow tests every version of the table, and no other', () => {
  const listed = rows.flatMap(({ name, versions }) => versions.map((version) => `${name.toLowerCase()}@${version}`))
  expect(listed.length).toBeGreaterThan(20)
  expect(jobs.map(({ name, version }) => `${name}@${version}`).sort()).toEqual(listed.sort())
  for (const { name, tests } of jobs) {
    expect(tests.length > 0, name).toBe(name !== 'typescript')
    for (const path of tests) expect(existsSync(join(root, path)), path).toBe(true)
  }
})

test.each(rows)('$name: the lowest version that is taken is tested, and the newest line', ({ range, versions }) => {
  const { lowest, below } = boundsOf(range)
  const [first = ''] = versions
  const last = versions.at(-1) ?? ''
  expect(parts(first).slice(0, parts(lowest).length)).toEqual(parts(lowest))
  if (below.length > 0) {
    const line = parts(last).slice(0, below.length)
    expect([...line.slice(0, -1), (line.at(-1) ?? 0) + 1]).toEqual(below)
  }
})
