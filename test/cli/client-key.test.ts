/** A client that proves itself with a private key, on the command line. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { run } from './run.js'

let provider: ScriptedProvider
let folder: string
let privateKey: KeyObject
let publicKey: KeyObject
let pem: string
beforeEach(async () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  privateKey = pair.privateKey
  publicKey = pair.publicKey
  pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  folder = await mkdtemp(join(tmpdir(), 'client-key-'))
  provider = await startScriptedProvider({ clientSecret: null })
  provider.metadata = (usual) => ({ ...usual, token_endpoint_auth_methods_supported: ['private_key_jwt'] })
  provider.deviceAnswer = () => ({
    body: {
      device_code: 'device-code',
      user_code: 'KNLR-TRPB',
      verification_uri: `${provider.issuer}/device`,
      expires_in: 60,
      interval: 1,
    },
  })
  let refreshes = 0
  provider.tokenAnswer = async ({ grant_type, client_assertion = '' }) => {
    await jwtVerify(client_assertion, publicKey, { issuer: provider.clientId })
    const seconds = Math.floor(Date.now() / 1000)
    const claims = { iss: provider.issuer, aud: provider.clientId, sub: 'alice', iat: seconds, exp: seconds + 300 }
    const tokens = { access_token: `at-${refreshes++}`, token_type: 'Bearer', expires_in: 0 }
    const first = { refresh_token: 'rt', id_token: await provider.sign(claims) }
    return { body: { ...tokens, ...(grant_type === 'refresh_token' ? {} : first) } }
  }
})
afterEach(async () => {
  await provider.close()
  await rm(folder, { recursive: true })
})

const cli = (args: string[], env: Record<string, string> = {}) =>
  run(args, { cwd: folder, env: { OAUTH2CLIENT_HOME: join(folder, 'home'), ...env } })
const client = () => ['--client-id', provider.clientId, '--issuer', provider.issuer]
const written = async (name: string, text: string) => {
  await writeFile(join(folder, name), text, { mode: 0o600 })
  return name
}
const jwk = (more: object = {}) => JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'mine', ...more })
const secret = () => String(privateKey.export({ format: 'jwk' }).d)

describe('login, token and revoke', () => {
  test.each<[string, () => Promise<{ args: string[]; env: Record<string, string> }>]>([
    ['a PEM file', async () => ({ args: ['--client-key', await written('key.pem', pem)], env: {} })],
    ['a JWK file', async () => ({ args: ['--client-key', await written('key.json', jwk())], env: {} })],
    ['a PEM in the environment', async () => ({ args: [], env: { OAUTH2_CLIENT_KEY: pem.replaceAll('\n', '\\n') } })],
    ['a JWK in the environment', async () => ({ args: [], env: { OAUTH2_CLIENT_KEY: jwk() } })],
  ])('%s', async (_name, given) => {
    const { args, env } = await given()
    const login = await cli(['login', '--device', ...client(), ...args], env)
    expect(login, login.stderr).toMatchObject({ code: 0 })
    // What login was told of is found again; the access token is over, so it is refreshed.
    const token = await cli(['token'], env)
    expect(token, token.stderr).toMatchObject({ code: 0, stdout: 'at-1\n' })
    expect(await cli(['revoke'], env)).toMatchObject({ code: 0, stdout: 'alice: revoked\n' })
    const sent = provider.requests.filter(({ endpoint }) => ['device', 'token', 'revoke'].includes(endpoint))
    expect(sent.length).toBeGreaterThanOrEqual(4)
    for (const { params } of sent)
      expect((await jwtVerify(params.client_assertion as string, publicKey)).payload.sub).toBe(provider.clientId)
    const remembered = await readFile(join(folder, 'home', 'logins.json'), 'utf8')
    const kept = remembered + (await readFile(join(folder, 'home', 'credentials.json'), 'utf8'))
    for (const text of [kept, login.stdout + login.stderr + token.stderr]) {
      expect(text).not.toContain(secret())
      expect(text).not.toContain('PRIVATE KEY')
    }
    if (env.OAUTH2_CLIENT_KEY === undefined) return
    expect(await cli(['token'])).toMatchObject({ code: 2, stderr: expect.stringContaining('OAUTH2_CLIENT_KEY') })
  })

  test('a file that is gone, or no key: one line that says where, and nothing of what is in it', async () => {
    const lost = await cli(['login', '--device', ...client(), '--client-key', 'gone.pem'])
    expect([lost.code, lost.stderr]).toEqual([
      1,
      `oauth2client login: the client key ${join(folder, 'gone.pem')} cannot be read: ENOENT\n`,
    ])
    for (const text of [
      `{"d":"${secret()}"`,
      `${secret()}`,
      '',
      pem.replace('BEGIN', 'BEGUN'),
      jwk({ d: undefined }),
    ]) {
      const { code, stderr } = await cli(['login', '--device', ...client(), '--client-key', await written('k', text)])
      expect([code, stderr.split('\n')]).toEqual([1, [expect.stringMatching(/key|PEM/), '']])
      expect(stderr).not.toContain(secret())
    }
    expect(provider.count('device')).toBe(0)
  })
})

describe('doctor', () => {
  const line = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout } = await cli(['doctor', ...client(), ...args], env)
    expect(stdout).not.toContain(secret())
    const found = stdout.split('\n').filter((one) => one.includes('client key:'))
    return [code, ...found.map((one) => one.replace(folder, ''))]
  }

  test('says what it signs with', async () => {
    expect(await line([])).toEqual([expect.any(Number)])
    expect(await line(['--client-key', await written('key.pem', pem)])).toEqual([
      0,
      'ok       client key: /key.pem signs with ES256',
    ])
    expect(await line([], { OAUTH2_CLIENT_KEY: jwk() })).toEqual([
      0,
      'ok       client key: OAUTH2_CLIENT_KEY signs with ES256',
    ])
  })

  test('says when it expires', async () => {
    const at = (days: number) => Math.floor(Date.now() / 1000) + days * 86_400 + 60
    const day = (days: number) => new Date(at(days) * 1000).toISOString().slice(0, 10)
    const of = (days: number) => line([], { OAUTH2_CLIENT_KEY: jwk({ exp: at(days) }) })
    expect(await of(60)).toEqual([0, expect.stringMatching(`^ok .* until ${day(60)}$`)])
    expect(await of(3)).toEqual([0, expect.stringMatching(`^warn .* until ${day(3)}: register another one`)])
    expect(await of(-3)).toEqual([1, expect.stringMatching(`^bad .* has expired on ${day(-3)}: register another one`)])
  })

  test('says why it cannot be used', async () => {
    expect(await line(['--client-key', 'gone.pem'])).toEqual([
      1,
      'bad      client key: the client key /gone.pem cannot be read: ENOENT',
    ])
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
    const text = short.export({ type: 'pkcs1', format: 'pem' }) as string
    expect(await line(['--client-key', await written('short.pem', text)])).toEqual([
      1,
      'bad      client key: Option "/short.pem": is an RSA key of less than 2048 bits.',
    ])
    provider.metadata = (usual) => ({
      ...usual,
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['PS256'],
    })
    const { code, stdout } = await cli(['doctor', ...client()], { OAUTH2_CLIENT_KEY: pem })
    expect([code, stdout]).toEqual([1, expect.stringContaining('lists none of ES256')])
  })

  test.skipIf(process.platform === 'win32')('says who else can read it', async () => {
    const name = await written('key.pem', pem)
    await chmod(join(folder, name), 0o644)
    expect((await line(['--client-key', name])).at(-1)).toMatch(/^warn .* chmod 600/)
  })
})
