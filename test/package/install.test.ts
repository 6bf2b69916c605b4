/** The tarball in an app that has nothing yet, by npm: what comes along, and what npm says about it. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Packed, packPackage } from '../helpers/pack.js'

const run = promisify(execFile)
const reachable = await run('npm', ['view', 'fastify', 'version', '--fetch-retries=0']).then(
  () => true,
  () => false,
)
if (!reachable && !process.env.CI) console.warn('left out: no registry can be reached, and an install needs one')

describe.skipIf(!reachable && !process.env.CI)('an app that installs the package', () => {
  let packed: Packed
  let folder: string
  let said: string
  let installed: Record<string, { hasInstallScript?: boolean }>

  beforeAll(async () => {
    packed = await packPackage()
    folder = await mkdtemp(join(tmpdir(), 'installed-'))
    await writeFile(join(folder, 'package.json'), '{ "name": "app", "private": true, "type": "module" }')
    const packages = ['fastify', '@fastify/cookie', '@fastify/session', packed.tarball]
    const { stdout, stderr } = await run('npm', ['install', '--no-audit', '--no-fund', ...packages], { cwd: folder })
    said = stdout + stderr
    const lock = JSON.parse(await readFile(join(folder, 'node_modules/.package-lock.json'), 'utf8'))
    installed = lock.packages
  }, 300_000)
  afterAll(async () => {
    await packed?.remove()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  test('npm warns of no peer and of no script', () => {
    expect(said).toMatch(/added \d+ packages/)
    expect(said).not.toMatch(/peer|ERESOLVE|install-scripts/i)
  })

  test('nothing runs or is compiled when it is installed', async () => {
    expect(Object.keys(installed).length).toBeGreaterThan(10)
    for (const [path, { hasInstallScript }] of Object.entries(installed)) {
      expect(hasInstallScript, path).toBeUndefined()
      const { scripts = {}, gypfile } = JSON.parse(await readFile(join(folder, path, 'package.json'), 'utf8'))
      for (const name of ['preinstall', 'install', 'postinstall']) expect(scripts, path).not.toHaveProperty(name)
      expect(gypfile, path).toBeUndefined()
    }
  })

  test('no optional peer comes along', async () => {
    const { peerDependencies } = JSON.parse(
      await readFile(join(folder, 'node_modules/fastify-oauth2client/package.json'), 'utf8'),
    )
    const names = Object.keys(installed).map((path) => path.replace(/^.*node_modules\//, ''))
    const optional = Object.keys(peerDependencies).filter((name) => !/^@fastify\/(cookie|session)$/.test(name))
    expect(names.filter((name) => optional.includes(name))).toEqual([])
  })

  test('the binary is there by its name', async () => {
    // Without what an npx around these tests was told.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
    const { stdout } = await run('npx', ['--no-install', 'oauth2client', '--help'], { cwd: folder, env })
    expect(stdout).toMatch(/login.*keygen/s)
  })

  test('the app starts', async () => {
    const app = `import cookie from '@fastify/cookie'
      import session from '@fastify/session'
      import Fastify from 'fastify'
      import oauth2Client from 'fastify-oauth2client'
      import { github } from 'fastify-oauth2client/providers'
      const app = Fastify()
      app.register(cookie)
      app.register(session, { secret: 'a secret of at least thirty-two characters' })
      app.register(oauth2Client, { provider: github(), clientId: 'web', clientSecret: 'its secret' })
      await app.ready()
      console.log(app.oauth2.callbackPath)`
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', app], { cwd: folder })
    expect(stdout.trim()).toBe('/oauth2callback')
  })
})
