import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Inside of the package, so that its own name resolves as it does for those who install it.
const folder = join(root, 'test', '.snippets')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('every snippet of the README, the docs and the doc comments compiles', { timeout: 60_000 }, () => {
  const snippets = new Map<string, string>()
  for (const file of ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]) {
    if (!file.endsWith('.md')) continue
    const all = [...readFileSync(join(root, file), 'utf8').matchAll(/^```[jt]s\n(.*?)^```/gms)].map(
      (match) => match[1]!,
    )
    // Those that begin with the name of a file are files of their own, which others of the page import. None is called a test here.
    const named = (block: string) => /^\/\/ (\S+)\.[jt]s\n/.exec(block)?.[1]?.replace('.test', '-test')
    const page = file.replace(/\W+/g, '-')
    for (const block of all.filter(named)) snippets.set(`${page}/${named(block)}`, block)
    const blocks = all.filter((block) => !named(block))
    if (blocks.length > 0) snippets.set(`${page}/page`, blocks.join('\n'))
  }
  for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue
    const text = readFileSync(join(root, 'src', file), 'utf8')
    for (const [index, match] of [...text.matchAll(/^ *\* ```ts\n(.*?)^ *\* ```/gms)].entries()) {
      snippets.set(`src/${file.replace(/\W+/g, '-')}-${index}`, (match[1] as string).replace(/^ *\* ?/gm, ''))
    }
  }
  expect(snippets.size).toBeGreaterThan(5)
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
    writeFileSync(join(folder, `${name}.ts`), `${text}\nexport {}\n`)
  }
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    expect.fail((error as { stdout: string }).stdout)
  }
})
