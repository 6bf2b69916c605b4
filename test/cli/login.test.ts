/** The compiled binary as a process of its own, a real authorization server, and a browser that opens what is printed. */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { CredentialManager } from '../../src/credentials/index.js'
import { google } from '../../src/provider/presets/index.js'
import { fileStore } from '../../src/storage/file.js'
import { type AuthorizationServer, startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { type Installed, install } from './installed.js'
import { Conversation, enterCode, signInAt } from './person.js'

let installed: Installed
beforeAll(async () => {
  installed = await install()
})
afterAll(() => installed.remove())

let server: AuthorizationServer
let home: string
let env: Record<string, string>
beforeEach(async () => {
  server = await startAuthorizationServer({
    clients: [{ clientId: 'terminal' }],
    scopes: { 'files.read': {}, 'calendar.read': {} },
    api: { '/files': { scope: 'files.read', body: ({ name }) => ({ of: name }) } },
  })
  onTestFinished(() => server.close())
  home = await mkdtemp(join(tmpdir(), 'oauth2client-home-'))
  onTestFinished(() => rm(home, { recursive: true, force: true }))
  env = { OAUTH2CLIENT_HOME: join(home, 'config') }
})

const URL_LINE = /^ {2}(http\S+)$/m
const who = () => ['--client-id', 'terminal', '--provider', 'google', '--issuer', server.issuer]
const run = (...args: string[]) => installed.run(args, env)

/** Logs in with a browser on this machine. */
async function login(
  args: string[] = [],
  person: Parameters<typeof signInAt>[1] = {},
  more: Record<string, string> = {},
) {
  const talk = new Conversation(installed.start(['login', '--browser', ...who(), ...args], { ...env, ...more }))
  const page = await signInAt(await talk.heard(URL_LINE), person)
  return { page, ...(await talk.ended()) }
}

async function api(token: string) {
  const response = await fetch(`${server.issuer}/files`, { headers: { authorization: `Bearer ${token}` } })
  return { status: response.status, body: await response.json().catch(() => undefined) }
}

describe('login, token, list and revoke', () => {
  test('a person signs in, token feeds an API, list shows it, revoke ends it', async () => {
    const { code, stdout, stderr, page } = await login(['--scopes', 'openid email files.read'])
    expect({ code, status: page.status }).toEqual({ code: 0, status: 200 })
    expect(page.body).toContain('You are signed in')
    expect(stdout).toBe(
      `Logged in as alice@example.test. Stored for the user "default" in ${env.OAUTH2CLIENT_HOME}/credentials.json\nGranted: openid email files.read\n`,
    )
    expect(stderr).toMatch(/^Open this address on this machine:\n\n {2}http.*\n\nWaiting for you to sign in/)

    const token = await run('token')
    expect(token).toMatchObject({ code: 0, stderr: '' })
    expect(await api(token.stdout.trim())).toEqual({ status: 200, body: { of: 'alice' } })
    expect(JSON.parse((await run('token', '--json')).stdout)).toMatchObject({
      token: token.stdout.trim(),
      scopes: expect.arrayContaining(['files.read']),
      expiresAt: expect.any(Number),
    })

    expect((await run('list')).stdout).toMatch(
      /^default\talice@example\.test\tactive, access token until .*\topenid email/,
    )
    expect(JSON.parse((await run('list', '--json')).stdout)).toMatchObject([
      { user: 'default', account: 'sub-alice', email: 'alice@example.test', status: 'active', refreshable: true },
    ])

    expect(await run('revoke')).toEqual({ code: 0, stdout: 'alice@example.test: revoked\n', stderr: '' })
    expect(server.revocations).toHaveLength(1)
    expect(await api(token.stdout.trim())).toMatchObject({ status: 401 })
    const gone = await run('token')
    expect(gone).toMatchObject({ code: 1, stdout: '' })
    expect(gone.stderr).toBe(
      'oauth2client token: Authorization is required. (FST_OAUTH2_CREDENTIALS_REQUIRED): run: oauth2client login\n',
    )
    expect(await run('revoke')).toMatchObject({ code: 1, stdout: '' })
    expect(await run('list')).toEqual({ code: 0, stdout: '', stderr: 'Nobody is logged in.\n' })
  }, 60_000)

  test.each([
    ['a refresh token that stays', false],
    ['one that is replaced, where a second use ends the grant', true],
  ])(
    'the same credentials file, used by 4 processes at once with the command line, is refreshed once: %s',
    async (_, rotates) => {
      if (rotates) {
        await server.close()
        server = await startAuthorizationServer({
          clients: [{ clientId: 'terminal' }],
          scopes: { 'files.read': {} },
          api: { '/files': { scope: 'files.read', body: 'alice' } },
          googleHabits: false,
          rotateRefreshTokens: true,
        })
        onTestFinished(() => server.close())
      }
      // Expired when it arrives, so that the first use has to refresh.
      server.tweak = { expiresIn: 0 }
      const provider = rotates ? ['--issuer', server.issuer] : who().slice(2)
      const talk = new Conversation(
        installed.start(
          ['login', '--browser', '--client-id', 'terminal', ...provider, '--scopes', 'openid files.read'],
          env,
        ),
      )
      await signInAt(await talk.heard(URL_LINE))
      expect(await talk.ended()).toMatchObject({ code: 0 })
      server.tweak = {}
      // Long enough for all of them to be there before the first is done.
      server.faults.token = { delay: 700 }
      const before = server.tokenRequests.length
      const all = await Promise.all(Array.from({ length: 4 }, () => run('token')))
      expect(all.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(4).fill({ code: 0, stderr: '' }))
      expect(new Set(all.map(({ stdout }) => stdout)).size).toBe(1)
      expect(await api(all[0]?.stdout.trim() as string)).toMatchObject({ status: 200 })
      expect(server.tokenRequests.slice(before).map(({ grantType }) => grantType)).toEqual(['refresh_token'])
    },
    60_000,
  )

  test('logging in for more keeps what was granted before', async () => {
    await login(['--scopes', 'openid email files.read'])
    const { stdout } = await login(['--scopes', 'calendar.read', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({
      scopes: expect.arrayContaining(['openid', 'email', 'files.read', 'calendar.read']),
      declined: [],
    })
    const missing = await run('token', '--scopes', 'files.write')
    expect(missing).toMatchObject({ code: 1, stdout: '' })
    expect(missing.stderr).toContain('run: oauth2client login --scopes "files.write"')
  }, 60_000)

  test('another account that logs in is the one that token is about', async () => {
    await login(['--scopes', 'openid files.read'])
    await login(['--scopes', 'openid files.read'], { user: 'bob' })
    expect(await api((await run('token')).stdout.trim())).toEqual({ status: 200, body: { of: 'bob' } })
    expect(await api((await run('token', '--account', 'sub-alice')).stdout.trim())).toEqual({
      status: 200,
      body: { of: 'alice' },
    })
    expect(await run('revoke')).toMatchObject({ code: 2 })
    expect((await run('revoke', '--all')).stdout.split('\n').sort()).toEqual([
      '',
      'sub-alice: revoked',
      'sub-bob: revoked',
    ])
  }, 60_000)

  test('a provider that is away, and a grant that ended there: each says what to do', async () => {
    server.tweak = { expiresIn: 0 }
    await login(['--scopes', 'openid files.read'])
    await server.revokeGrants('alice')
    const ended = await run('token')
    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toMatch(/FST_OAUTH2_CREDENTIALS_REQUIRED.*: run: oauth2client login\n$/)
    expect((await run('list')).stdout).toMatch(/needs_reauthorization \(refused\)/)
    await login(['--scopes', 'openid files.read'])
    await server.close()
    const away = await run('token')
    expect(away).toMatchObject({ code: 1, stdout: '' })
    expect(away.stderr).toMatch(/FST_OAUTH2_PROVIDER_UNAVAILABLE\): .*ECONNREFUSED/)
    expect((await run('list', '--json')).stdout).toContain('"refreshable":true')
  }, 60_000)

  test('another client under the same name does not touch what is stored', async () => {
    await login(['--scopes', 'openid files.read'])
    const other = ['login', '--browser', '--client-id', 'another', '--issuer', server.issuer]
    const { code, stderr } = await installed.run(other, env)
    expect(code).toBe(1)
    expect(stderr).toContain('belongs to another client. Choose another --name or --user.')
    expect(await run('token')).toMatchObject({ code: 0 })
  }, 60_000)

  test('what was declined is said, and a refusal is exit code 1 with nothing stored', async () => {
    const less = await login(['--scopes', 'openid files.read'], { consent: { scope: [] } })
    expect(less).toMatchObject({ code: 0, stderr: expect.stringContaining('Not granted: files.read\n') })
    const refused = await login(['--scopes', 'calendar.read', '--user', 'other'], { form: 1 })
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.page.body).toContain('Access was not granted')
    expect(refused.stderr).toMatch(/oauth2client login: Access was not granted\. \(FST_OAUTH2_ACCESS_DENIED\)\n$/)
    expect((await run('list', '--user', 'other')).stdout).toBe('')
  }, 60_000)
})

test.skipIf(process.platform !== 'linux')(
  'the browser of the system is opened, with the package "open"',
  async () => {
    await installed.add('open')
    const opened = join(home, 'opened')
    const script = join(home, 'browser')
    await writeFile(script, `#!/bin/sh\nprintf %s "$1" > '${opened}.part' && mv '${opened}.part' '${opened}'\n`, {
      mode: 0o755,
    })
    const BROWSER = script
    const PATH = process.env.PATH as string
    const talk = new Conversation(installed.start(['login', ...who(), '--scopes', 'openid'], { ...env, BROWSER, PATH }))
    const printed = await talk.heard(URL_LINE)
    expect(talk.stderr).toContain('Your browser opens.')
    await expect.poll(() => readFile(opened, 'utf8').catch(() => ''), { timeout: 10_000 }).toBe(printed)
    await signInAt(printed)
    expect(await talk.ended()).toMatchObject({ code: 0 })
  },
  60_000,
)

describe('without a browser', () => {
  test('a code is shown by itself, and the person enters it on another device', async () => {
    const talk = new Conversation(installed.start(['login', ...who(), '--scopes', 'openid files.read'], env))
    const uri = await talk.heard(/open (http\S+) and enter the code/)
    await enterCode(uri, await talk.heard(/^ {2}(\S+)$/m))
    expect(await talk.ended()).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in') })
    expect(await run('token')).toMatchObject({ code: 0 })
  }, 60_000)

  test('a client that may not use codes gets the next best way by itself', async () => {
    const provider = await startScriptedProvider({ clientSecret: null })
    onTestFinished(() => provider.close())
    provider.metadata = (metadata) => ({ ...metadata, device_authorization_endpoint: `${provider.issuer}/token` })
    provider.tokenAnswer = ({ grant_type }) =>
      grant_type === undefined ? { status: 401, body: { error: 'invalid_client' } } : undefined
    const args = ['login', '--client-id', provider.clientId, '--issuer', provider.issuer]
    const talk = new Conversation(installed.start(args, env))
    await new Browser().goto(await talk.heard(URL_LINE))
    expect(await talk.ended()).toMatchObject({ code: 0, stdout: expect.stringContaining('alice@example.com') })
    expect(talk.stderr).toContain('This client may not sign in with a code on another device.\n')
    // Whoever asked for a code hears why there is none.
    expect(await installed.run([...args, '--device'], env)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/FST_OAUTH2_CLIENT_REJECTED.*invalid_client/),
    })
  }, 60_000)

  test('--no-browser takes the address that the browser of another machine ended at', async () => {
    const args = ['login', '--no-browser', ...who(), '--scopes', 'openid email files.read']
    const talk = new Conversation(installed.start(args, env))
    const page = await signInAt(await talk.heard(URL_LINE), { stay: true })
    talk.say(page.location as string)
    expect(await talk.ended()).toMatchObject({ code: 0, stdout: expect.stringContaining('alice@example.test') })
    expect(await api((await run('token')).stdout.trim())).toMatchObject({ status: 200 })
  }, 60_000)

  test('an address of another login is refused, and so is none at all', async () => {
    for (const line of ['http://127.0.0.1:5000/?code=stolen&state=another', '']) {
      const talk = new Conversation(installed.start(['login', '--no-browser', ...who()], env))
      await talk.heard(URL_LINE)
      talk.say(line)
      const { code, stdout, stderr } = await talk.ended()
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/FST_OAUTH2_STATE_INVALID/)
      expect(stderr).not.toContain('stolen')
    }
    expect(server.tokenRequests).toEqual([])
  }, 60_000)

  // stdin is a pipe that nobody closes.
  test.each(['--browser', '--no-browser', '--device'])(
    '%s and nobody comes: it ends in time',
    async (way) => {
      const { code, stderr } = await installed.run(['login', way, '--timeout', '1', ...who()], env)
      expect(code).toBe(1)
      expect(stderr).toContain('FST_OAUTH2_AUTHORIZATION_TIMEOUT')
    },
    30_000,
  )
})

describe('where it is kept', () => {
  test('only the person can read it, and no token is in it', async () => {
    await login(['--scopes', 'openid files.read'])
    const token = (await run('token')).stdout.trim()
    const folder = env.OAUTH2CLIENT_HOME as string
    if (process.platform !== 'win32') {
      expect((await stat(folder)).mode & 0o777).toBe(0o700)
      for (const name of ['credentials.json', 'key', 'logins.json']) {
        expect((await stat(join(folder, name))).mode & 0o777, name).toBe(0o600)
      }
    }
    for (const name of ['credentials.json', 'logins.json']) {
      expect(await readFile(join(folder, name), 'utf8'), name).not.toContain(token)
    }
  }, 30_000)

  test('an app with the same store, name and keys uses what login stored', async () => {
    const path = join(home, 'app', 'credentials.json')
    await mkdir(join(home, 'app'))
    const OAUTH2_KEY = 'k'.repeat(43)
    const args = ['--store', `file:${path}`, '--user', 'alice', '--scopes', 'openid files.read']
    expect(await login(args, {}, { OAUTH2_KEY })).toMatchObject({ code: 0 })
    const manager = new CredentialManager({
      provider: google({ issuer: server.issuer }),
      clientId: 'terminal',
      storage: fileStore({ path }),
      encryptionKeys: [OAUTH2_KEY],
    })
    const user = await manager.user('alice')
    expect(user.hasCredentials('files.read')).toBe(true)
    expect((await user.fetch(`${server.issuer}/files`)).status).toBe(200)
    await manager.close()
    // The store is remembered, its key is not.
    expect(await installed.run(['token'], { ...env, OAUTH2_KEY })).toMatchObject({ code: 0 })
    expect(await run('token')).toMatchObject({ code: 2, stderr: expect.stringContaining('set OAUTH2_KEY') })
    // With another key nothing is written that the app could not open.
    const other = await installed.run(['login', '--browser', ...who(), '--store', `file:${path}`, '--user', 'carol'], {
      ...env,
      OAUTH2_KEY: 'x'.repeat(43),
    })
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('FST_OAUTH2_KEY_IN_USE') })
  }, 60_000)

  test('a client secret comes from the environment or a file, and is nowhere afterwards', async () => {
    await server.close()
    const secret = 'a-canary-of-a-secret'
    server = await startAuthorizationServer({ clients: [{ clientId: 'terminal', clientSecret: secret }] })
    onTestFinished(() => server.close())
    expect(await login([], {}, { OAUTH2_CLIENT_SECRET: secret })).toMatchObject({ code: 0 })
    for (const name of ['credentials.json', 'logins.json', 'key']) {
      expect(await readFile(join(env.OAUTH2CLIENT_HOME as string, name), 'utf8')).not.toContain(secret)
    }
    expect(await run('token')).toMatchObject({ code: 2, stderr: expect.stringContaining('OAUTH2_CLIENT_SECRET') })
    const typed = await run('login', '--client-secret', secret, ...who())
    expect(typed.code).toBe(2)
    expect(typed.stderr).not.toContain(secret)

    const file = join(home, 'client_secrets.json')
    const { issuer } = server
    const installedClient = {
      client_id: 'terminal',
      client_secret: secret,
      auth_uri: `${issuer}/auth`,
      token_uri: `${issuer}/token`,
    }
    await writeFile(file, JSON.stringify({ installed: installedClient }))
    const talk = new Conversation(
      installed.start(['login', '--browser', '--client-secrets', file, '--issuer', issuer, '--name', 'other'], env),
    )
    await signInAt(await talk.heard(URL_LINE))
    expect(await talk.ended()).toMatchObject({ code: 0 })
    // About the last one, unless another is named; a new login has the usual name.
    expect(await run('token')).toMatchObject({ code: 0 })
    expect(await run('token', '--name', 'oauth2')).toMatchObject({ code: 2 })
    expect(await login([], {}, { OAUTH2_CLIENT_SECRET: secret })).toMatchObject({ code: 0 })
    expect(JSON.parse(await readFile(join(env.OAUTH2CLIENT_HOME as string, 'logins.json'), 'utf8')).last).toBe('oauth2')
  }, 60_000)

  test('--adc writes the file that Google’s libraries read, and refuses clients that it would be of no use for', async () => {
    await server.close()
    const secret = 'a-canary-of-a-secret'
    server = await startAuthorizationServer({ clients: [{ clientId: 'terminal', clientSecret: secret }] })
    onTestFinished(() => server.close())
    const more = { OAUTH2_CLIENT_SECRET: secret, CLOUDSDK_CONFIG: join(home, 'gcloud') }
    const { code, stdout, stderr } = await login(['--adc'], {}, more)
    expect(code).toBe(0)
    const file = join(home, 'gcloud', 'application_default_credentials.json')
    expect(stderr).toContain(`Google's libraries find it in ${file}\n`)
    expect(stdout + stderr).not.toContain(secret)
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
      type: 'authorized_user',
      client_id: 'terminal',
      client_secret: secret,
      refresh_token: expect.any(String),
    })
    if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600)
    const other = ['login', '--adc', '--client-id', 'terminal', '--issuer', server.issuer, '--name', 'other']
    expect(await installed.run(other, { ...env, ...more })).toMatchObject({ code: 2 })
    expect(await run('login', '--adc', ...who())).toMatchObject({ code: 2, stdout: '' })
  }, 60_000)

  test('without a login, commands say what to run', async () => {
    for (const command of ['token', 'revoke']) {
      const { code, stderr } = await run(command)
      expect(code).toBe(1)
      expect(stderr).toBe(
        `oauth2client ${command}: nobody is logged in. Run: oauth2client login --client-secrets client_secrets.json\n`,
      )
    }
    expect(await run('login')).toMatchObject({ code: 2, stderr: expect.stringContaining('which client?') })
  }, 30_000)
})
