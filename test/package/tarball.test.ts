/** What people install: the files, the entries, the types, and what it is not to bring along. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { rolldown } from 'rolldown'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Packed, packPackage } from '../helpers/pack.js'
import { declaresClients, readSnippets } from '../helpers/snippets.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
const { exports, bin, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const entries = Object.keys(exports).map((subpath) => `fastify-oauth2client${subpath.slice(1)}`)
const modules = entries.filter((name) => !name.endsWith('.json'))
/** Bytes, with room of about 15 %: what makes it larger than that is worth a look. */
const BUDGET = { packed: 760_000, unpacked: 2_950_000 }
let packed: Packed
let folder: string
let home: string

beforeAll(async () => {
  packed = await packPackage()
  // By its whole name, as Node sees it: what is bundled is compared by that.
  folder = await mkdtemp(join(tmpdir(), 'app-'))
  await packed.installInto(folder, [
    ...Object.keys(dependencies),
    ...['fastify', '@fastify/cookie', '@fastify/session', '@types/node'],
  ])
  home = join(folder, 'node_modules/fastify-oauth2client')
}, 180_000)
afterAll(async () => {
  await packed?.remove()
  await rm(folder, { recursive: true, force: true })
})

test('the tarball holds what belongs there, and nothing else', () => {
  const places = new Set(packed.files.map((file) => file.split('/')[0]))
  expect([...places].sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'dist',
    'package.json',
    'src',
  ])
  for (const file of packed.files.filter((name) => name.includes('/'))) {
    expect(file).toMatch(/^(dist\/.*\.(js|js\.map|d\.ts|d\.ts\.map)|src\/.*\.ts)$/)
    expect(file).not.toMatch(/(^|\/)(test|tests|fixtures|__\w+__|coverage)\/|\.test\.|tsbuildinfo/)
  }
  for (const target of [...Object.values<string | { default: string }>(exports), ...Object.values<string>(bin)]) {
    const path = typeof target === 'string' ? target : target.default
    expect(packed.files).toContain(path.replace('./', ''))
  }
})

test('every source map leads to a source that is there', async () => {
  const maps = packed.files.filter((file) => file.endsWith('.map'))
  expect(maps.length).toBeGreaterThan(100)
  for (const map of maps) {
    const { sources } = JSON.parse(await readFile(join(home, map), 'utf8'))
    for (const source of sources) expect(packed.files, map).toContain(posix.join(dirname(map), source))
  }
})

test('it is not larger than it was', () => {
  expect(packed.size).toBeLessThan(BUDGET.packed)
  expect(packed.unpackedSize).toBeLessThan(BUDGET.unpacked)
})

test('publint has nothing to say', async () => {
  const tarball = await readFile(packed.tarball)
  const { messages } = await publint({ pack: { tarball: new Uint8Array(tarball).buffer }, strict: true })
  expect(messages).toEqual([])
})

test('the types of every entry are found, and are those of a module', { timeout: 120_000 }, async () => {
  const tarball = createPackageFromTarballData(new Uint8Array(await readFile(packed.tarball)))
  const analysis = await checkPackage(tarball)
  if (!analysis.types) expect.fail('no types')
  // Who resolves as before `exports` does not find entries, and CommonJS gets a module: Node can do that.
  const problems = analysis.problems.filter(
    (problem) =>
      problem.kind !== 'CJSResolvesToESM' && !('resolutionKind' in problem && problem.resolutionKind === 'node10'),
  )
  expect(problems).toEqual([])
  expect(Object.keys(analysis.entrypoints).sort()).toEqual(
    Object.keys(exports)
      .filter((subpath) => subpath !== './package.json' || subpath in analysis.entrypoints)
      .sort(),
  )
})

test('every entry can be imported and required', async () => {
  const load = `const names = ${JSON.stringify(entries)}
    const list = (all) => Object.keys(all).sort().join()
    for (const name of names) {
      const json = name.endsWith('.json')
      const imported = await import(name, json ? { with: { type: 'json' } } : undefined)
      const required = json ? { default: require(name) } : require(name)
      if (list(imported) === '' || list(required).replace(/__esModule,?/, '') !== list(imported)) throw new Error(name)
    }
    console.log('all')`
  const script = `import { createRequire } from 'node:module'
    const require = createRequire(${JSON.stringify(join(folder, 'app.cjs'))})
    ${load}`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: folder })
  expect(stdout.trim()).toBe('all')
})

test('an app in CommonJS registers it, written either way', async () => {
  const app = (plugin: string) => `const fastify = require('fastify')()
    fastify.register(require('@fastify/cookie'))
    fastify.register(require('@fastify/session'), { secret: 'a secret of at least thirty-two characters' })
    const { requireOAuth } = require('fastify-oauth2client')
    const provider = { issuer: 'https://login.example.com' }
    fastify.register(${plugin}, { provider, clientId: 'web', clientSecret: 'its secret' })
    fastify.get('/', { onRequest: requireOAuth() }, async () => 'handler')
    fastify.inject('/').then((response) => console.log(response.statusCode, response.json().code))`
  for (const plugin of ['require("fastify-oauth2client").default', 'require("fastify-oauth2client")']) {
    const { stdout } = await run(process.execPath, ['--eval', app(plugin)], { cwd: folder })
    expect(stdout.trim(), plugin).toBe('401 FST_OAUTH2_CREDENTIALS_REQUIRED')
  }
})

test('the binary runs', async () => {
  const file = join(home, bin.oauth2client)
  expect(await readFile(file, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  const { stdout } = await run(process.execPath, [file, '--help'], { cwd: folder })
  expect(stdout).toMatch(/login.*keygen/s)
})

test('an import changes nothing but what is loaded', async () => {
  const script = `const look = () => JSON.stringify([
      Object.getOwnPropertyNames(globalThis), Object.getOwnPropertySymbols(globalThis).map(String),
      process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
      process.env, process.cwd(), process.getActiveResourcesInfo().filter((name) => !/^(Pipe|TTY|FSReq)/.test(name)),
    ])
    // What Node itself sets up with the first file that is loaded, with the packages that ours stands on, and when fetch is looked at.
    void [fetch, Request, Response]
    for (const name of ${JSON.stringify([...Object.keys(dependencies), 'fastify'])}) await import(name)
    const before = look()
    for (const name of ${JSON.stringify(modules)}) await import(name)
    console.log(look() === before ? 'the same' : before + look())`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: folder })
  expect(stdout.trim()).toBe('the same')
})

test.each(modules)('nothing of %s stays with who uses nothing of it', async (name) => {
  const input = 'virtual:app'
  const bundle = await rolldown({
    input,
    cwd: folder,
    platform: 'node',
    external: (id) => id !== input && !/^[./]|^fastify-oauth2client/.test(id),
    plugins: [
      {
        name: 'app',
        resolveId: (id) => (id === input ? id : undefined),
        load: (id) => (id === input ? `import '${name}'` : undefined),
      },
    ],
  })
  const { output } = await bundle.generate()
  const code = output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('\n')
  expect(code.replace(/^(import ['"][^'"]+['"];?|\/\/.*|export \{\s*\};?)$/gm, '').trim()).toBe('')
})

test.each([
  ['typescript', 7],
  ['typescript-6', 6],
])(
  'an app compiles with its libraries checked, and no package that it does not use: %s',
  {
    timeout: 120_000,
  },
  async (compiler, major) => {
    const app = await mkdtemp(join(folder, 'typed-'))
    await cp(join(root, 'typetests/consumer'), app, { recursive: true })
    const tsc = join(root, 'node_modules', compiler, 'bin/tsc')
    const { stdout: version } = await run(process.execPath, [tsc, '--version'])
    expect(version).toMatch(new RegExp(`^Version ${major}\\.`))
    const typeRoots = join(folder, 'node_modules/@types')
    const args = ['-p', app, '--typeRoots', typeRoots]
    const { stdout } = await run(process.execPath, [tsc, ...args], { cwd: app }).catch((error) => error)
    expect(stdout).toBe('')
  },
)

test('snippets that say which clients an app has compile, each as an app of its own', {
  timeout: 120_000,
}, async () => {
  const snippets = [...readSnippets()].filter(([, text]) => declaresClients(text))
  expect(snippets.length).toBeGreaterThan(1)
  for (const [name, text] of snippets) {
    const app = await mkdtemp(join(folder, 'snippet-'))
    await writeFile(join(app, `${basename(name)}.mts`), text)
    const compilerOptions = { module: 'nodenext', target: 'es2023', strict: true, noEmit: true, types: ['node'] }
    const config = { compilerOptions: { ...compilerOptions, skipLibCheck: true }, include: ['*.mts'] }
    await writeFile(join(app, 'tsconfig.json'), JSON.stringify(config))
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const { stdout } = await run(process.execPath, [tsc, '-p', app], { cwd: app }).catch((error) => error)
    expect(stdout, name).toBe('')
  }
})
