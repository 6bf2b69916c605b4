/** Everything that looks at the environment. Each case has its own, and none may reach Google. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { drive } from '@googleapis/drive'
import { resetIsAvailableCache } from 'gcp-metadata'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import {
  applicationDefaultCredentials,
  toGoogleAuth,
  wellKnownFile,
  writeAuthorizedUserFile,
} from '../../src/google/index.js'
import { EMAIL, type LocalServer, makeKey, type Received, serve, startTokenServer } from './key.js'

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const posix = process.platform !== 'win32'
let home: string
let closing: LocalServer[]

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'adc-home-'))
  closing = []
  vi.stubEnv('HOME', home)
  vi.stubEnv('APPDATA', home)
  for (const name of ['GOOGLE_APPLICATION_CREDENTIALS', 'CLOUDSDK_CONFIG', 'GOOGLE_CLOUD_QUOTA_PROJECT'])
    vi.stubEnv(name, '')
  for (const name of ['GCE_METADATA_IP', 'K_SERVICE', 'CLOUD_RUN_JOB', 'FUNCTION_NAME']) vi.stubEnv(name, undefined)
  // Nobody's machine is asked, unless a case says which.
  vi.stubEnv('METADATA_SERVER_DETECTION', 'none')
  resetIsAvailableCache()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  resetIsAvailableCache()
  await Promise.all(closing.map((server) => server.close()))
  await rm(home, { recursive: true })
})

async function started<T extends LocalServer>(server: T | Promise<T>): Promise<T> {
  const running = await server
  closing.push(running)
  return running
}

async function write(json: unknown, path = join(home, 'adc.json')): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, typeof json === 'string' ? json : JSON.stringify(json))
  return path
}

const named = async (json: unknown) => vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', await write(json))
const gcloud = (json: unknown) => write(json, join(home, '.config/gcloud/application_default_credentials.json'))
const refused = (message: RegExp) =>
  expect.objectContaining({ code: 'FST_OAUTH2_GOOGLE_CREDENTIALS', message: expect.stringMatching(message) })

/** Answers refreshes with `refreshed-1`, `refreshed-2` and so on. */
async function refreshServer(status = 200) {
  let count = 0
  return started(
    serve(() => ({
      status,
      body:
        status === 200
          ? { access_token: `refreshed-${++count}`, expires_in: 3600, scope: 'granted' }
          : { error: 'invalid_grant', error_description: 'canary' },
    })),
  )
}

const person = (origin: string) => ({
  type: 'authorized_user',
  client_id: 'client',
  client_secret: 'client-secret-canary',
  refresh_token: 'refresh-canary',
  token_uri: `${origin}/token`,
})

/** A metadata server: `machine-1`, `machine-2` and so on. */
async function metadataServer() {
  let count = 0
  const answer = ({ url }: Received) => {
    const headers = { 'metadata-flavor': 'Google' }
    if (!url.includes('/token')) return { headers, body: '{}' }
    return { headers, body: { access_token: `machine-${++count}`, expires_in: 3599, token_type: 'Bearer' } }
  }
  const server = await started(serve(answer))
  vi.stubEnv('GCE_METADATA_HOST', new URL(server.origin).host)
  vi.stubEnv('METADATA_SERVER_DETECTION', undefined)
  return server
}

describe('the order', () => {
  test('AD-1: the file that the environment names wins, and nothing else is consulted', async () => {
    const metadata = await metadataServer()
    const key = makeKey()
    const tokens = await started(startTokenServer(key.publicKey))
    await gcloud('not even JSON')
    await named({ ...key.json, token_uri: tokens.origin })
    const credentials = await applicationDefaultCredentials({ scopes: SCOPE })
    expect(credentials).toMatchObject({ email: EMAIL })
    expect(await credentials.getAccessToken()).toMatchObject({ token: 'token-1', scopes: [SCOPE] })
    expect(tokens.assertions[0]?.claims.scope).toBe(SCOPE)
    expect(metadata.received).toEqual([])
  })

  test('AD-2: the file of gcloud is next; metadata servers are not probed', async () => {
    const [metadata, tokens] = [await metadataServer(), await refreshServer()]
    await gcloud(person(tokens.origin))
    const { token, expiresAt, scopes } = await (await applicationDefaultCredentials({ scopes: SCOPE })).getAccessToken()
    expect([token, scopes]).toEqual(['refreshed-1', ['granted']])
    expect(expiresAt).toBeGreaterThan(Date.now() + 3_000_000)
    const body = new URLSearchParams(tokens.received[0]?.body)
    expect(Object.fromEntries(body)).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'refresh-canary',
      client_id: 'client',
    })
    expect(metadata.received).toEqual([])
  })

  test('then the machine: scopes are asked for, the token is kept, and a rejected one is replaced', async () => {
    const metadata = await metadataServer()
    const credentials = await applicationDefaultCredentials({ scopes: SCOPE })
    const asking = Array.from({ length: 5 }, () => credentials.getAccessToken())
    expect(new Set((await Promise.all(asking)).map(({ token }) => token))).toEqual(new Set(['machine-1']))
    expect((await credentials.getAccessToken({ rejected: 'machine-1' })).token).toBe('machine-2')
    expect((await credentials.getAccessToken({ rejected: 'machine-1' })).token).toBe('machine-2')
    const requests = metadata.received.filter(({ url }) => url.includes('/token'))
    expect(requests).toHaveLength(2)
    expect(decodeURIComponent(requests[0]?.url ?? '')).toContain(SCOPE)
    expect(requests[0]?.headers['metadata-flavor']).toBe('Google')
  })

  test('AD-3: with none of them, the error says what to do', async () => {
    await expect(applicationDefaultCredentials({ scopes: SCOPE })).rejects.toEqual(
      refused(/Name a file in GOOGLE_APPLICATION_CREDENTIALS, run "gcloud auth application-default login"/),
    )
  })
})

test('AD-8: where nobody answers as a metadata server does, there is none', async () => {
  const stranger = await metadataServer()
  await stranger.close()
  closing = []
  await expect(applicationDefaultCredentials()).rejects.toEqual(refused(/there are none/))
})

describe('a file that cannot be used', () => {
  test('AD-5: a file that is named and missing is an error, not a reason to look elsewhere', async () => {
    const metadata = await metadataServer()
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', join(home, 'missing.json'))
    await expect(applicationDefaultCredentials()).rejects.toEqual(
      refused(/missing\.json \(from GOOGLE_APPLICATION_CREDENTIALS\) cannot be read \(ENOENT\)/),
    )
    expect(metadata.received).toEqual([])
  })

  test.each([
    ['AD-4: no type', { client_id: 'canary' }, /has no "type". Known are: service_account, authorized_user/],
    ['AD-4: no key id', { ...makeKey().json, private_key_id: undefined }, /lacks "private_key_id"/],
    ['AD-4: not JSON', '{"refresh_token": "canary', /adc\.json \(from GOOGLE_APPLICATION_CREDENTIALS\) is not JSON/],
    ['an unknown type', { type: 'canary' }, /has an unknown "type"/],
    ['a person without members', { type: 'authorized_user', client_id: 'x' }, /lacks "client_secret", "refresh_token"/],
    ['plain HTTP', person('http://evil.example'), /must be an HTTPS URL/],
  ])('%s: is named, and not quoted', async (_name, json, message) => {
    await named(json)
    const error: unknown = await applicationDefaultCredentials().catch((thrown) => thrown)
    expect(error).toEqual(refused(message))
    expect(inspect(error)).not.toMatch(/canary|PRIVATE KEY/)
  })

  test('refused by Google: the error code, and nothing of what was sent or answered', async () => {
    const tokens = await refreshServer(400)
    await named(person(tokens.origin))
    const credentials = await applicationDefaultCredentials()
    const error: unknown = await credentials.getAccessToken().catch((thrown) => thrown)
    expect(error).toEqual(refused(/refuses them \(invalid_grant\)/))
    expect(inspect(error, { depth: 9 })).not.toContain('canary')
  })

  test('Google out of reach is another error, and quiet as well', async () => {
    const tokens = await refreshServer()
    await named(person(tokens.origin))
    const credentials = await applicationDefaultCredentials()
    await tokens.close()
    closing = []
    const error: unknown = await credentials.getAccessToken().catch((thrown) => thrown)
    expect(error).toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
    expect(inspect(error, { depth: 9 })).not.toContain('canary')
  })
})

describe('in use', () => {
  test('fetch and an API client: a 401 is answered with another token', async () => {
    await metadataServer()
    const api = await started(
      serve(({ headers }) => ({
        status: headers.authorization === 'Bearer machine-2' ? 200 : 401,
        body: { files: [] },
      })),
    )
    const options = { scopes: SCOPE, allowedOrigins: [api.origin], quotaProjectId: 'billed' }
    const credentials = await applicationDefaultCredentials(options)
    const auth = toGoogleAuth(credentials)
    expect((await drive({ version: 'v3', auth, rootUrl: `${api.origin}/` }).files.list()).data).toEqual({ files: [] })
    expect((await credentials.fetch(`${api.origin}/x`)).status).toBe(200)
    expect(api.received.map(({ headers }) => [headers.authorization, headers['x-goog-user-project']])).toEqual([
      ['Bearer machine-1', 'billed'],
      ['Bearer machine-2', 'billed'],
      ['Bearer machine-2', 'billed'],
    ])
  })

  test('the quota project is the option’s, else the environment’s, else the file’s', async () => {
    const tokens = await refreshServer()
    await named({ ...person(tokens.origin), quota_project_id: 'file' })
    expect((await applicationDefaultCredentials()).quotaProjectId).toBe('file')
    vi.stubEnv('GOOGLE_CLOUD_QUOTA_PROJECT', 'environment')
    expect((await applicationDefaultCredentials()).quotaProjectId).toBe('environment')
    expect((await applicationDefaultCredentials({ quotaProjectId: 'option' })).quotaProjectId).toBe('option')
  })

  test('the universe is the option’s, else the file’s', async () => {
    const tokens = await refreshServer()
    await named({ ...person(tokens.origin), universe_domain: 'example.cloud' })
    const credentials = await applicationDefaultCredentials()
    expect([credentials.universeDomain, credentials.allowedOrigins]).toEqual([
      'example.cloud',
      ['https://*.example.cloud'],
    ])
    expect((await applicationDefaultCredentials({ universeDomain: 'other.cloud' })).universeDomain).toBe('other.cloud')
  })
})

describe('the file of gcloud', () => {
  const credentials = new Credentials({ accessToken: 'a', refreshToken: 'refresh-canary', clientId: 'client' })
  const client = { clientId: 'client', clientSecret: 'secret', quotaProjectId: 'billed' }

  test.skipIf(!posix)('AD-6: is where gcloud has it', () => {
    expect(wellKnownFile()).toBe(join(home, '.config/gcloud/application_default_credentials.json'))
    vi.stubEnv('CLOUDSDK_CONFIG', join(home, 'elsewhere'))
    expect(wellKnownFile()).toBe(join(home, 'elsewhere/application_default_credentials.json'))
  })

  test('what is written there is found, here and by google-auth’s import', async () => {
    const path = await writeAuthorizedUserFile(undefined, credentials, client)
    expect(path).toBe(wellKnownFile())
    expect((await applicationDefaultCredentials()).quotaProjectId).toBe('billed')
    const { readFile } = await import('node:fs/promises')
    expect(Credentials.fromAuthorizedUser(await readFile(path, 'utf8'))).toMatchObject({
      refreshToken: 'refresh-canary',
    })
  })

  test.skipIf(!posix)(
    'AD-7: only its owner can read it, whether it is new or was there, whatever the umask',
    async () => {
      const { chmod, readdir, stat, symlink, readFile } = await import('node:fs/promises')
      const path = join(home, 'made/adc.json')
      const umask = process.umask(0)
      try {
        await writeAuthorizedUserFile(path, credentials, client)
      } finally {
        process.umask(umask)
      }
      expect((await stat(join(home, 'made'))).mode & 0o777).toBe(0o700)
      expect((await stat(path)).mode & 0o777).toBe(0o600)
      await chmod(path, 0o666)
      await writeAuthorizedUserFile(path, credentials, client)
      expect((await stat(path)).mode & 0o777).toBe(0o600)
      const link = join(home, 'made/link.json')
      const target = await write('precious')
      await symlink(target, link)
      await writeAuthorizedUserFile(link, credentials, client)
      expect(await readFile(target, 'utf8')).toBe('precious')
      expect((await readdir(join(home, 'made'))).sort()).toEqual(['adc.json', 'link.json'])
    },
  )

  test('not without a refresh token, not with another client’s secret, and a full disk is an error', async () => {
    const bare = Credentials.fromAccessToken('a')
    await expect(writeAuthorizedUserFile(undefined, bare, client)).rejects.toThrow(/no refresh token/)
    const other = { clientId: 'other', clientSecret: 's' }
    await expect(writeAuthorizedUserFile(undefined, credentials, other)).rejects.toThrow(/Option "client"/)
    const inTheWay = join(await write('a file'), 'adc.json')
    await expect(writeAuthorizedUserFile(inTheWay, credentials, client)).rejects.toMatchObject({
      code: 'FST_OAUTH2_STORE_UNAVAILABLE',
    })
  })
})
