import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { cure } from '../../src/cli/doctor/provider.js'
import oauth2Client from '../../src/index.js'
import { listen } from '../helpers/listen.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { run } from './run.js'

let provider: ScriptedProvider
let folder: string
beforeEach(async () => {
  provider = await startScriptedProvider()
  folder = await mkdtemp(join(tmpdir(), 'doctor-'))
})
afterEach(async () => {
  await provider.close()
  await rm(folder, { recursive: true })
})

const doctor = (args: string[], env: Record<string, string> = {}) =>
  run(['doctor', ...args], { env: { OAUTH2CLIENT_HOME: join(folder, 'home'), ...env } })

async function secretsFile(web: Record<string, unknown> = {}): Promise<string> {
  const path = join(folder, 'client_secrets.json')
  const section = {
    client_id: provider.clientId,
    client_secret: provider.clientSecret,
    auth_uri: `${provider.issuer}/authorize`,
    token_uri: `${provider.issuer}/token`,
    redirect_uris: [],
    ...web,
  }
  await writeFile(path, JSON.stringify({ web: section }), { mode: 0o600 })
  return path
}

async function serve(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

async function startApp(cookieOptions: { sameSite?: 'lax' | 'strict'; httpOnly?: boolean; secure?: boolean } = {}) {
  const app = Fastify()
  onTestFinished(() => app.close())
  app.register(cookie)
  app.register(session, {
    secret: 'x'.repeat(32),
    saveUninitialized: false,
    cookie: { secure: 'auto', sameSite: 'lax', ...cookieOptions },
  })
  app.register(oauth2Client, {
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
  })
  return listen(app)
}

test('a set-up that works: every line is ok or says why it could not be looked at', async () => {
  const baseUrl = await startApp()
  const file = await secretsFile({ redirect_uris: [`${baseUrl}/oauth2callback`] })
  const { code, stdout, stderr } = await doctor([
    '--client-secrets',
    file,
    '--issuer',
    provider.issuer,
    '--base-url',
    baseUrl,
  ])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).not.toMatch(/^bad/m)
  expect(stdout).not.toContain(provider.clientSecret)
  for (const line of [
    /^ok {7}client secrets: .*client_secrets\.json: a client of type "web"/m,
    /^ok {7}redirect URI: .*\/oauth2callback is registered$/m,
    /^ok {7}provider: .*: discovery works$/m,
    /^ok {7}PKCE: S256$/m,
    /^ok {7}ID tokens: \d keys at /m,
    /^warn {5}TLS: .* is plain HTTP/m,
    /^ok {7}clock: within 5 s/m,
    /^ok {7}app: .*\/oauth2authorize leads to /m,
    /^ok {7}session cookie: /m,
    /^unknown {2}store: /m,
  ]) {
    expect(stdout).toMatch(line)
  }
  const { stdout: json } = await doctor(['--client-secrets', file, '--issuer', provider.issuer, '--json'])
  expect(JSON.parse(json)).toContainEqual({ level: 'ok', check: 'PKCE', text: 'S256' })
})

test.each<[string, Record<string, unknown>, RegExp]>([
  ['CS-4: a placeholder', { client_id: '[[INSERT CLIENT ID HERE]]' }, /^bad {6}client secrets: .*placeholder/m],
  ['CS-3: a member is missing', { token_uri: undefined }, /^bad {6}client secrets: .*lacks "token_uri"/m],
  [
    'a slash too many',
    { redirect_uris: ['https://app.example.com/oauth2callback/'] },
    /^bad {6}redirect URI: .* is not registered\. \S+callback\/ is, which differs/m,
  ],
  [
    'another scheme',
    { redirect_uris: ['http://app.example.com/oauth2callback'] },
    /^bad {6}redirect URI: http:.* register https/m,
  ],
  [
    'the end of copy and paste',
    { redirect_uris: ['urn:ietf:wg:oauth:2.0:oob'] },
    /^warn {5}redirect URI: urn.* no longer works/m,
  ],
])('client secrets file: %s', async (_, section, line) => {
  const file = await secretsFile(section)
  const { code, stdout } = await doctor(['--client-secrets', file, '--base-url', 'https://app.example.com'])
  expect(code).toBe(1)
  expect(stdout).toMatch(line)
  expect(stdout).not.toContain(provider.clientSecret)
})

test.skipIf(process.platform === 'win32')('a client secret that others can read', async () => {
  const file = await secretsFile()
  await chmod(file, 0o644)
  expect((await doctor(['--client-secrets', file])).stdout).toMatch(/^warn {5}client secrets: .*chmod 600/m)
})

test('CS-6, CS-7: no file, and no JSON', async () => {
  const path = join(folder, 'nothing.json')
  expect(await doctor(['--client-secrets', path])).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^bad {6}client secrets: .*cannot be read \(ENOENT\)/m),
  })
  await writeFile(path, '{')
  expect((await doctor(['--client-secrets', path])).stdout).toMatch(/^bad {6}client secrets: .*is not JSON/m)
})

test('the issuer is not what its metadata says', async () => {
  provider.metadata = (metadata) => ({ ...metadata, issuer: `${provider.issuer}/realm` })
  const { code, stdout } = await doctor(['--issuer', provider.issuer])
  expect(code).toBe(1)
  expect(stdout).toMatch(/^bad {6}provider: .*Configure exactly what it says/m)
})

test('the provider does not answer', async () => {
  const { issuer } = provider
  await provider.close()
  const { code, stdout } = await doctor(['--issuer', issuer])
  expect(code).toBe(1)
  expect(stdout).toMatch(/^bad {6}provider: .*ECONNREFUSED.*The host does not answer/m)
})

test.each([
  [-30, /^warn {5}clock: this machine's is (29|30|31) s ahead of the provider's: synchronize it \(NTP\)\.$/m, 0],
  [300, /^bad {6}clock: this machine's is (299|300|301) s behind the provider's.*ID tokens are refused\.$/m, 1],
])('a clock that is off by %i s', async (seconds, line, exit) => {
  const answer: RequestListener = (req, res) => {
    const { port } = server.address() as AddressInfo
    const issuer = `http://127.0.0.1:${port}`
    res.sendDate = false
    res.setHeader('date', new Date(Date.now() + seconds * 1000).toUTCString())
    res.setHeader('content-type', 'application/json')
    const metadata = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      code_challenge_methods_supported: ['S256'],
    }
    res.end(JSON.stringify(req.url === '/jwks' ? { keys: [{ kty: 'RSA' }] } : metadata))
  }
  const server = createServer(answer)
  const port = await serve(server)
  const { code, stdout } = await doctor(['--issuer', `http://127.0.0.1:${port}`])
  expect(stdout).toMatch(line)
  expect(code).toBe(exit)
})

const openssl = (() => {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }) !== ''
  } catch {
    return false
  }
})()

test.skipIf(!process.env.CI && !openssl)('a certificate that this machine does not trust', async () => {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', ...subject],
    { stdio: 'ignore' },
  )
  const port = await serve(
    createTlsServer({ key: await readFile(key), cert: await readFile(cert) }, (_, res) => void res.end()),
  )
  const { code, stdout } = await doctor(['--issuer', `https://localhost:${port}`])
  expect(code).toBe(1)
  expect(stdout).toMatch(/^bad {6}provider: .*DEPTH_ZERO_SELF_SIGNED_CERT.*NODE_EXTRA_CA_CERTS/m)
})

test.each([
  ['CERT_HAS_EXPIRED', /expired, or the clock/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another host name/],
  ['ENOTFOUND', /not known/],
])('%s has a cure', (code, text) => {
  expect(cure(new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code }) }))).toMatch(text)
})

test('the running app: its session cookie does not come back from the provider', async () => {
  const baseUrl = await startApp({ sameSite: 'strict', secure: false })
  const { code, stdout } = await doctor(['--issuer', provider.issuer, '--base-url', baseUrl])
  expect(code).toBe(1)
  // The app notices that itself, and says so at the authorize route.
  expect(stdout).toMatch(/^bad {6}app: .*answers 500.*FST_OAUTH2_SESSION_COOKIE_UNUSABLE/m)
})

test('the running app: scripts can read its session cookie', async () => {
  const baseUrl = await startApp({ httpOnly: false })
  expect(await doctor(['--issuer', provider.issuer, '--base-url', baseUrl])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^warn {5}session cookie: sessionId can be read by scripts: httpOnly: true\.$/m),
  })
})

test('the running app: another base URL than the one that is asked, and no app at all', async () => {
  const baseUrl = await startApp()
  const other = baseUrl.replace('localhost', '127.0.0.1')
  const { stdout } = await doctor(['--issuer', provider.issuer, '--base-url', baseUrl, '--callback-path', '/cb'])
  expect(stdout).toMatch(
    /^bad {6}app: it sends the redirect URI \S+\/oauth2callback instead of \S+\/cb: set "baseUrl"/m,
  )
  expect((await doctor(['--issuer', provider.issuer, '--base-url', `${other}/nowhere`])).stdout).toMatch(
    /^bad {6}app: .*answers 404/m,
  )
})

test('the store: keys that it needs are missing, and it does not answer', async () => {
  const who = ['--client-id', provider.clientId, '--issuer', provider.issuer]
  const good = await doctor([...who, '--store', `file:${join(folder, 'store.json')}`], { OAUTH2_KEY: 'k'.repeat(43) })
  expect(good.stdout).toMatch(/^ok {7}store: .*store\.json answers$/m)
  const url = 'postgres://app:canary-password@127.0.0.1:1/app'
  const down = await doctor([...who, '--store', url], { OAUTH2_KEY: 'k'.repeat(43) })
  expect(down).toMatchObject({ code: 1 })
  expect(down.stdout).toMatch(/^bad {6}store: postgres:\/\/127\.0\.0\.1:1\/app: .*ECONNREFUSED/m)
  expect(down.stdout).not.toContain('canary-password')
  expect((await doctor([...who, '--store', url])).stdout).toMatch(/^bad {6}store: .*set OAUTH2_KEY/m)
  expect((await doctor([...who, '--store', url], { OAUTH2_KEY: 'short' })).stdout).toMatch(
    /^bad {6}store: .*at least 32/m,
  )
})
