/** What `init` writes is an app: it starts, signs people in, passes its own test, and nothing of the person's is lost. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { buildPackage } from '../helpers/build.js'
import { describeWith } from '../storage/servers.js'
import { run } from './run.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const exec = promisify(execFile)
const own = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

/** A folder with everything that `npm install` would bring, whichever app is in it. */
let folder: string
let bin: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'init-'))
  const modules = join(folder, 'node_modules')
  const home = join(modules, 'fastify-oauth2client')
  await buildPackage(home)
  const types = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', join(home, 'dist')]
  await exec(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...types], { cwd: root })
  bin = join(home, own.bin.oauth2client)
  const app = ['fastify', '@fastify/cookie', '@fastify/session', 'kysely', 'libsql', 'pg', 'ioredis', 'oidc-provider']
  const development = ['typescript', '@types/node', '@types/pg']
  for (const name of [...Object.keys(own.dependencies), ...app, ...development]) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(modules, name), 'junction')
  }
  await mkdir(join(modules, '.bin'))
  await symlink(join(root, 'node_modules/typescript/bin/tsc'), join(modules, '.bin/tsc'))
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

const environment = { PATH: process.env.PATH ?? '', NO_COLOR: '1' }

/** Writes an app with the binary as it is published, and gives its folder. */
async function written(...args: string[]): Promise<string> {
  const app = await mkdtemp(join(folder, 'app-'))
  await exec(process.execPath, [bin, 'init', app, ...args], { cwd: folder, env: environment })
  return app
}

/** What `npm run dev` or `npm start` of the app does, once it is there. */
async function start(app: string, env: Record<string, string>, script = 'src/server.js'): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--no-warnings', script], { cwd: app, env: { ...environment, ...env } })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stderr?.on('data', (chunk) => {
    said += chunk
  })
  const ended = once(child, 'exit').then(() => {
    throw new Error(`it ended: ${said}`)
  })
  ended.catch(() => {})
  const open = new Promise<void>((resolve) => {
    createInterface(child.stdout!).on('line', (line) => line.startsWith('Open ') && resolve())
  })
  await Promise.race([open, ended])
  return child
}

/** A port that is free, and the next one too. */
async function freePort(): Promise<number> {
  for (;;) {
    const first = createServer().listen(0, '127.0.0.1')
    await once(first, 'listening')
    const { port } = first.address() as { port: number }
    const second = createServer().listen(port + 1, '127.0.0.1')
    const [outcome] = await Promise.race([
      once(second, 'listening').then(() => ['free']),
      once(second, 'error').then(() => ['taken']),
    ])
    first.close()
    second.close()
    if (outcome === 'free' && port < 65_534) return port
  }
}

describe.each(['--javascript', '--typescript'])('an app in %s', (language) => {
  test.each(['session', 'sqlite', 'postgres', 'redis'])(
    'with %s passes its own test, without anything of the environment',
    { timeout: 60_000 },
    async (store) => {
      const app = await written('--store', store, language)
      const { stdout } = await exec('npm', ['test'], { cwd: app, env: environment })
      expect(stdout).toMatch(/^. pass 4\n. fail 0$/mu)
    },
  )

  test('signs people in at once, asks for one more permission, and ends when told', { timeout: 60_000 }, async () => {
    const app = await written(language)
    const compiled = language === '--typescript'
    if (compiled) await exec('npm', ['run', 'build'], { cwd: app, env: environment })
    const port = await freePort()
    const child = await start(app, { PORT: String(port) }, compiled ? 'dist/src/server.js' : undefined)
    const browser = new Browser()
    let page = await browser.goto(`http://localhost:${port}/`)
    const link = /<a href="([^"]+)">Sign in</.exec(page.body)?.[1]?.replaceAll('&#38;', '&') ?? ''
    page = await browser.goto(new URL(link, page.url), { from: page })
    page = await browser.submit(page, 0, { username: 'alice', password: 'password' })
    page = await browser.submit(page)
    expect([page.url, page.status]).toEqual([`http://localhost:${port}/`, 200])
    expect(page.body).toContain('<strong>alice@example.test</strong>')
    page = await browser.goto(`http://localhost:${port}/files`, { from: page })
    expect(page.body).toContain('See the names of your files')
    page = await browser.submit(page)
    expect(page.json()).toEqual({ files: [{ id: '1', name: 'Letter.txt' }] })
    page = await browser.submit(await browser.goto(`http://localhost:${port}/`))
    expect(page.body).toContain('>Sign in<')
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    expect(code).toBe(0)
  })
})

test.each([
  ['github', ['--provider', 'github'], 4],
  ['okta', ['--provider', 'okta', '--issuer', 'https://example.okta.com'], 3],
  ['an issuer', ['--provider', "https://login.example.com/it's"], 3],
  ['slack', ['--provider', 'slack'], 3],
  ['an issuer, in TypeScript', ['--provider', 'https://login.example.com', '--typescript'], 3],
])('an app for %s passes its own test too', { timeout: 60_000 }, async (_, args, tests) => {
  const app = await written(...args)
  const { stdout } = await exec('npm', ['test'], { cwd: app, env: environment })
  expect(stdout).toMatch(new RegExp(`^. pass ${tests}\\n. fail 0$`, 'mu'))
})

const KEYS = { SESSION_SECRET: 's'.repeat(43), OAUTH2_KEY: 'k'.repeat(43) }
const postgres = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')
const redis = await describeWith('TEST_REDIS_URL', 'redis://127.0.0.1:6379')

/** An app that the environment tells of a provider; its users are in that store, also after a restart. */
async function withProvider(store: string, where: (app: string) => Promise<Record<string, string>>): Promise<void> {
  const server = await startAuthorizationServer({ googleHabits: false, autoApprove: { user: 'alice' } })
  onTestFinished(() => server.close())
  const app = await written('--provider', server.issuer, '--store', store)
  const port = await freePort()
  // Half in a file, as people have it.
  await writeFile(join(app, '.env'), `CLIENT_ID=${server.clientId}\nCLIENT_SECRET=${server.clientSecret}\n`)
  const env = { ...KEYS, PORT: String(port), LOG_LEVEL: 'silent', ...(await where(app)) }
  const child = await start(app, env)
  const page = await new Browser().goto(`http://localhost:${port}/me`)
  expect(page.json()).toMatchObject({ userId: 'sub-alice', email: 'alice@example.test' })
  child.kill('SIGTERM')
  expect((await once(child, 'exit'))[0]).toBe(0)
}

describe('with a provider that the environment names', { timeout: 60_000 }, () => {
  test('sessions', () => withProvider('session', async () => ({})))

  test('SQLite', async () => {
    let file = ''
    await withProvider('sqlite', async (app) => {
      file = join(app, 'app.sqlite')
      return {}
    })
    expect((await readFile(file, 'latin1')).includes('oauth2_credentials')).toBe(true)
    expect(await readFile(join(dirname(file), '.gitignore'), 'utf8')).toContain('*.sqlite*')
  })

  test('nothing that is missing is made up in production', async () => {
    const app = await written()
    await expect(start(app, { NODE_ENV: 'production', CLIENT_ID: 'x', PORT: '0' })).rejects.toThrow('Set BASE_URL')
    const production = { NODE_ENV: 'production', BASE_URL: 'https://app.example.com', PORT: '0' }
    await expect(start(app, production)).rejects.toThrow('Set CLIENT_ID in the environment or in .env')
    await expect(start(app, { ...production, CLIENT_ID: 'x' })).rejects.toThrow('Set CLIENT_SECRET')
  })
})

postgres.describe('with PostgreSQL', { timeout: 60_000 }, () => {
  test('people are in its table', async () => {
    const schema = `init_${basename(folder).replace(/\W/g, '').toLowerCase()}`
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    onTestFinished(async () => {
      await client.query(`drop schema if exists ${schema} cascade`)
      await client.end()
    })
    await client.query(`create schema ${schema}`)
    const url = new URL(postgres.url)
    url.searchParams.set('options', `-c search_path=${schema}`)
    await withProvider('postgres', async () => ({ DATABASE_URL: url.href }))
    const { rows } = await client.query(`select credential_key from ${schema}.oauth2_credentials`)
    expect(rows.map(({ credential_key }) => credential_key).join()).toContain('sub-alice')
  })
})

redis.describe('with Redis', { timeout: 60_000 }, () => {
  test('people are in it', async () => {
    const url = new URL(redis.url)
    // Others use the first one.
    url.pathname = '/13'
    const client = new Redis(url.href)
    onTestFinished(async () => {
      const names = await client.keys('oauth2:*')
      if (names.length > 0) await client.del(names)
      await client.quit()
    })
    await withProvider('redis', async () => ({ REDIS_URL: url.href }))
    expect((await client.keys('*')).join()).toContain('sub-alice')
  })
})

describe('oauth2client init', () => {
  let cwd: string
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'init-here-'))
    onTestFinished(() => rm(cwd, { recursive: true }))
  })
  const files = async (app: string) =>
    (await readdir(join(cwd, app), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(join(cwd, app).length + 1))
      .sort()

  test('names what it wrote, and says on stderr what comes next', async () => {
    const { code, stdout, stderr } = await run(['init', 'my-app', '--store', 'sqlite'], { cwd })
    expect(code).toBe(0)
    expect(stdout.trim().split('\n').sort()).toEqual(await files('my-app'))
    expect(stderr).toMatch(/cd my-app\n {2}npm install\n {2}npm run dev .*README\.md says what to register at Google/s)
  })

  test('--json tells programs', async () => {
    const { stdout } = await run(['init', 'my-app', '--json'], { cwd })
    expect(JSON.parse(stdout)).toEqual({ folder: join(cwd, 'my-app'), files: expect.arrayContaining(['package.json']) })
  })

  test('writes the same each time, and nothing secret', async () => {
    await run(['init', 'one/my-app'], { cwd })
    await run(['init', 'two/my-app'], { cwd })
    for (const file of await files('one/my-app')) {
      const [one, two] = await Promise.all(['one', 'two'].map((it) => readFile(join(cwd, it, 'my-app', file), 'utf8')))
      expect(one, file).toBe(two)
    }
    expect(await readFile(join(cwd, 'one/my-app/.gitignore'), 'utf8')).toContain('.env\n')
    expect(await readFile(join(cwd, 'one/my-app/.env.example'), 'utf8')).toMatch(/^SESSION_SECRET=\nOAUTH2_KEY=\n/m)
  })

  test('has the ranges that this package is tested with, and says the exact redirect URI', async () => {
    await run(['init', 'my-app', '--store', 'postgres', '--typescript'], { cwd })
    const { dependencies, devDependencies, name } = JSON.parse(await readFile(join(cwd, 'my-app/package.json'), 'utf8'))
    expect(name).toBe('my-app')
    const { 'fastify-oauth2client': itself, ...others } = dependencies
    expect(itself).toBe(`^${own.version}`)
    expect(own.devDependencies).toMatchObject({ ...others, ...devDependencies })
    expect(await readFile(join(cwd, 'my-app/README.md'), 'utf8')).toContain(' http://localhost:3000/oauth2callback\n')
  })

  test('writes over nothing, unless it is told to; and then over its own files only', async () => {
    await mkdir(join(cwd, 'my-app/src'), { recursive: true })
    await writeFile(join(cwd, 'my-app/src/app.js'), 'mine')
    await writeFile(join(cwd, 'my-app/notes.txt'), 'mine too')
    const refused = await run(['init', 'my-app'], { cwd })
    expect(refused).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'oauth2client init: would write over src/app.js. Nothing was written. Choose another folder, or say --force.\n',
    })
    expect(await files('my-app')).toEqual(['notes.txt', 'src/app.js'])
    expect((await run(['init', 'my-app', '--force'], { cwd })).code).toBe(0)
    expect(await readFile(join(cwd, 'my-app/src/app.js'), 'utf8')).toContain('buildApp')
    expect(await readFile(join(cwd, 'my-app/notes.txt'), 'utf8')).toBe('mine too')
  })

  test('a link that leads elsewhere is in the way, and is not followed', async () => {
    await mkdir(join(cwd, 'my-app'))
    await symlink(join(cwd, 'elsewhere'), join(cwd, 'my-app/.gitignore'))
    expect((await run(['init', 'my-app'], { cwd })).stderr).toContain('would write over .gitignore')
    expect(await readdir(cwd)).toEqual(['my-app'])
  })

  test('the folder may be the one where it runs', async () => {
    await mkdir(join(cwd, 'here'))
    const { code, stderr } = await run(['init', '.'], { cwd: join(cwd, 'here') })
    expect(code).toBe(0)
    expect(stderr).not.toContain('cd ')
    expect(JSON.parse(await readFile(join(cwd, 'here/package.json'), 'utf8')).name).toBe('here')
  })

  test.each([
    ['no folder', [], /takes the folder of the app/],
    ['two folders', ['a', 'b'], /takes 1 arguments/],
    ['a folder that is no name', ['.my app'], /calls the app like its folder/],
    ['two languages', ['a', '--javascript', '--typescript'], /--javascript or for --typescript/],
    ['a store that there is not', ['a', '--store', 'mongodb'], /--store is one of session, sqlite, postgres, redis/],
    [
      'a provider that there is not',
      ['a', '--provider', 'gogle'],
      /--provider knows .*google.*; others have an --issuer/,
    ],
    ['a provider that needs an issuer', ['a', '--provider', 'okta'], /--provider okta goes with --issuer/],
    ['an issuer that anybody can read', ['a', '--provider', 'http://login.example'], /--issuer is an https URL/],
    ['two issuers', ['a', '--provider', 'https://a.example', '--issuer', 'https://b.example'], /leave --issuer out/],
    ['an issuer that goes on in another line', ['a', '--issuer', 'https://a.example/\nx'], /in plain letters/],
    ['an option that there is not', ['a', '--bogus'], /--bogus/],
  ])('%s is wrong usage, and nothing is written', async (_, args, message) => {
    const { code, stdout, stderr } = await run(['init', ...args], { cwd })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^oauth2client init: [^\n]+ See oauth2client init --help\n$/)
    expect(await readdir(cwd)).toEqual([])
  })
})
