import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hasBrowser } from '../../src/cli/browser.js'
import { ensureKey, home, readKeys, readLogins, rememberLogin } from '../../src/cli/places.js'

const output = { write() {} }
const io = (env: Record<string, string>, cwd = '/srv/app') => ({ stdout: output, stderr: output, env, cwd })

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'places-'))
  onTestFinished(() => rm(path, { recursive: true }))
  return path
}

test.skipIf(process.platform === 'win32').each<[NodeJS.Platform, Record<string, string>, string]>([
  ['linux', { HOME: '/home/alice' }, '/home/alice/.config/fastify-oauth2client'],
  ['linux', { HOME: '/home/alice', XDG_CONFIG_HOME: '/etc/alice' }, '/etc/alice/fastify-oauth2client'],
  ['linux', { HOME: '/home/alice', XDG_CONFIG_HOME: 'relative' }, '/home/alice/.config/fastify-oauth2client'],
  ['darwin', { HOME: '/Users/alice' }, '/Users/alice/Library/Application Support/fastify-oauth2client'],
  ['win32', { APPDATA: '/Roaming' }, '/Roaming/fastify-oauth2client'],
  ['linux', { HOME: '/home/alice', OAUTH2CLIENT_HOME: 'here' }, '/srv/app/here'],
])('the folder on %s with %j', (platform, env, path) => {
  expect(home(io(env), platform)).toBe(path)
})

test.each<[NodeJS.Platform, Record<string, string>, boolean]>([
  ['linux', {}, false],
  ['linux', { DISPLAY: ':0' }, true],
  ['linux', { WAYLAND_DISPLAY: 'wayland-0' }, true],
  ['linux', { WSL_DISTRO_NAME: 'Ubuntu' }, true],
  ['darwin', {}, true],
  ['darwin', { SSH_CONNECTION: '1 2 3 4' }, false],
  ['darwin', { SSH_CONNECTION: '1 2 3 4', BROWSER: 'code' }, true],
  ['win32', {}, true],
])('a browser on %s with %j: %s', (platform, env, expected) => {
  expect(hasBrowser(env, platform)).toBe(expected)
})

test('first logins at the same time get one key, and later ones keep it', async () => {
  const path = join(await folder(), 'new', 'key')
  expect(await readKeys(path)).toBeUndefined()
  const all = await Promise.all(Array.from({ length: 5 }, () => ensureKey(path)))
  expect(new Set(all.flat()).size).toBe(1)
  expect(await ensureKey(path)).toEqual(all[0])
  expect(all[0]?.[0]).toMatch(/^[\w-]{43}$/)
})

test.skipIf(process.platform === 'win32')('a key that others could read is made private again', async () => {
  const path = join(await folder(), 'key')
  await ensureKey(path)
  await chmod(path, 0o644)
  await readKeys(path)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('logins are remembered by name, and what is damaged is not replaced', async () => {
  const OAUTH2CLIENT_HOME = await folder()
  const here = io({ OAUTH2CLIENT_HOME })
  expect(await readLogins(here)).toBeUndefined()
  await rememberLogin(here, 'oauth2', { clientId: 'a', user: 'default' })
  await rememberLogin(here, 'crm', { clientId: 'b', user: 'alice' })
  expect(await readLogins(here)).toEqual({
    last: 'crm',
    logins: { oauth2: { clientId: 'a', user: 'default' }, crm: { clientId: 'b', user: 'alice' } },
  })
  const path = join(OAUTH2CLIENT_HOME, 'logins.json')
  for (const text of ['{', '{"v":2}', 'null']) {
    await writeFile(path, text)
    await expect(readLogins(here)).rejects.toThrow(`${path} is damaged`)
    await expect(rememberLogin(here, 'crm', { user: 'bob' })).rejects.toThrow()
    expect(await readFile(path, 'utf8')).toBe(text)
  }
})
