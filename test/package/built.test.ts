/** The package as it is published: what an import of it costs, and that building it changes nothing but the number of files. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildPackage } from '../helpers/build.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { exports, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const packages = { required: Object.keys(dependencies), app: ['fastify', '@fastify/cookie', '@fastify/session'] }
let folder: string
let home: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'built-'))
  home = join(folder, 'node_modules/fastify-oauth2client')
  await buildPackage(home)
  for (const name of [...packages.required, ...packages.app]) await install(name)
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

async function install(name: string): Promise<void> {
  const target = join(folder, 'node_modules', name)
  await mkdir(dirname(target), { recursive: true })
  await symlink(join(root, 'node_modules', name), target, 'junction')
}

// Writes down whatever is loaded; from a thread of its own, so by the descriptor.
const hooks = `import { writeSync } from 'node:fs'
  export async function load(url, context, next) { writeSync(1, 'loaded ' + url + '\\n'); return next(url, context) }`
const data = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`
const recorder = data(`import { register } from 'node:module'; register(${JSON.stringify(data(hooks))})`)

/** What a program loads, and what it prints. */
async function run(code: string): Promise<{ loaded: string[]; printed: string }> {
  const args = ['--import', recorder, '--input-type=module', '--eval', code]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder })
  const lines = stdout.trim().split('\n')
  const loaded = lines.filter((line) => line.startsWith('loaded ')).map((line) => line.slice('loaded '.length))
  return { loaded, printed: lines.filter((line) => !line.startsWith('loaded ')).join('\n') }
}

const LIBRARIES = ['openid-client', 'oauth4webapi', 'jose']
const librariesIn = (loaded: string[]) =>
  LIBRARIES.filter((name) => loaded.some((url) => url.includes(`/node_modules/${name}/`)))
const REGISTERED = `import Fastify from 'fastify'
  import cookie from '@fastify/cookie'
  import session from '@fastify/session'
  import oauth2Client from 'fastify-oauth2client'
  const app = Fastify()
  app.register(cookie)
  app.register(session, { secret: 'a secret of at least thirty-two characters' })
  const provider = { issuer: 'https://login.example.com' }
  app.register(oauth2Client, { provider, clientId: 'web', clientSecret: 'its secret', storage: 'session' })`

test('an import loads three files of ours, no protocol library and no server', async () => {
  const { loaded } = await run("import 'fastify-oauth2client'")
  const own = loaded.filter((url) => url.startsWith(pathToFileURL(home).href))
  expect(own.length, own.join('\n')).toBeLessThanOrEqual(3)
  expect(own.some((url) => url.endsWith('/dist/index.js'))).toBe(true)
  expect(librariesIn(loaded)).toEqual([])
  expect(loaded).not.toContain('node:http')
})

test.each(['flows', 'credentials', 'google', 'installed'])(
  'an import of %s loads no protocol library',
  async (name) => {
    const { loaded } = await run(`import 'fastify-oauth2client/${name}'`)
    expect(loaded.some((url) => url.endsWith(`/dist/${name}/index.js`))).toBe(true)
    expect(librariesIn(loaded)).toEqual([])
  },
)

test('a store does not load the client', async () => {
  for (const name of ['memory', 'file', 'sql', 'sqlite', 'redis', 'keyring', 'encrypted']) {
    const { loaded } = await run(`import 'fastify-oauth2client/storage/${name}'`)
    expect(loaded.some((url) => url.endsWith(`/dist/storage/${name}.js`))).toBe(true)
    expect(
      loaded.filter((url) => url.endsWith('/chunks/client.js')),
      name,
    ).toEqual([])
  }
})

test('an app that is ready has loaded everything that a sign-in needs', async () => {
  const { loaded, printed } = await run(`${REGISTERED}
    await app.ready()
    console.log('ready')`)
  expect(printed).toBe('ready')
  expect(librariesIn(loaded)).toEqual(LIBRARIES)
})

test('OpenTelemetry is loaded where an SDK was started, and an app starts without the package too', async () => {
  const telemetryIn = (loaded: string[]) => loaded.filter((url) => /opentelemetry/.test(url))
  const sdk =
    "globalThis[Symbol.for('opentelemetry.js.api.1')] = { version: '1.9.0', trace: { getTracer: () => ({}) } }"
  const ready = "await app.ready(); console.log('ready')"
  const missing = await run(`${REGISTERED}\n${sdk}\n${ready}`)
  expect(missing.printed).toBe('ready')
  expect(telemetryIn(missing.loaded).some((url) => url.endsWith('/dist/telemetry/opentelemetry.js'))).toBe(true)
  await install('@opentelemetry/api')
  expect(telemetryIn((await run(`${REGISTERED}\n${ready}`)).loaded)).toEqual([])
  const { loaded } = await run(`${REGISTERED}\n${sdk}\n${ready}`)
  expect(telemetryIn(loaded).some((url) => url.includes('/@opentelemetry/api/'))).toBe(true)
})

test.each(['openid-client', 'jose'])('an app without %s does not start', async (name) => {
  await rm(join(folder, 'node_modules', name))
  try {
    const { printed } = await run(`${REGISTERED}
      await app.ready().then(() => console.log('ready'), (error) => console.log(error.code))`)
    expect(printed).toBe('ERR_MODULE_NOT_FOUND')
  } finally {
    await install(name)
  }
})

test('everything is exported from where it was, under the name that it was written with', async () => {
  for (const [subpath, target] of Object.entries<{ default?: string }>(exports)) {
    if (!target.default) continue
    const source = await import(join(root, target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')))
    const { printed } = await run(`import * as all from 'fastify-oauth2client${subpath.slice(1)}'
      console.log(JSON.stringify(Object.entries(all).map(([name, value]) => [name, value.name ?? null])))`)
    const names = Object.entries(source).map(([name, value]) => [name, (value as { name?: string }).name ?? null])
    expect(new Map(JSON.parse(printed)), subpath).toEqual(new Map(names as [string, string | null][]))
  }
})

test('source maps lead to the sources', async () => {
  const files = await readdir(join(home, 'dist'), { recursive: true })
  const maps = files.filter((file) => file.endsWith('.js.map'))
  expect(maps).toContain('index.js.map')
  for (const map of maps) {
    const { sources } = JSON.parse(await readFile(join(home, 'dist', map), 'utf8'))
    for (const source of sources as string[]) {
      const place = relative(join(root, 'src'), join(home, 'dist', dirname(map), source))
      expect(place, map).toMatch(/^[^.].*\.ts$/)
    }
  }
})
