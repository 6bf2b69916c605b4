import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import Fastify from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ClientSecrets, loadClientSecrets, parseClientSecrets } from '../../src/flows/index.js'
import oauth2Client, { type OAuth2ClientOptions } from '../../src/index.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const web = {
  client_id: 'id.apps.example.com',
  client_secret: 'secret-canary',
  redirect_uris: ['https://app.example.com/oauth2callback'],
  auth_uri: 'https://accounts.google.com/o/oauth2/auth',
  token_uri: 'https://oauth2.googleapis.com/token',
}
const text = (section: object, type = 'web') => JSON.stringify({ [type]: section })
const without = (member: string) => Object.fromEntries(Object.entries(web).filter(([name]) => name !== member))

function fileWith(content: string | Buffer): string {
  const directory = mkdtempSync(join(tmpdir(), 'client-secrets-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'client_secrets.json')
  writeFileSync(path, content)
  return path
}

/** The error's message; every error here is of the one class, and nothing of it shows the secret. */
function problemOf(use: () => unknown): string {
  try {
    use()
  } catch (error) {
    expect(error).toMatchObject({ code: 'FST_OAUTH2_CLIENT_SECRETS_INVALID' })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('canary')
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}
const problem = (json: string) => problemOf(() => parseClientSecrets(json, 'the file'))

test.each(['null', '{}', '[]', '"x"', '5', 'true', JSON.stringify({ web, installed: web }), `[${text(web)}]`])(
  'CS-1 %s is not one section, and is refused',
  (json) => {
    expect(problem(json)).toMatch(/^Client secrets: the file must hold/)
  },
)

test('L2, CS-2 an unknown type is refused by its name', () => {
  expect(problem(text(web, 'service_account'))).toContain('"service_account"')
  expect(problem(text(web, '__proto__'.repeat(100)))).toMatch(/^.{1,200}$/)
})

test.each([...Object.keys(web)])('CS-3 web without %s is refused, naming member and type', (member) => {
  for (const section of [without(member), { ...web, [member]: null }]) {
    expect(problem(text(section))).toMatch(new RegExp(`"${member}".*"web"`))
  }
})

test.each(['client_id', 'auth_uri', 'token_uri'])('CS-3 installed without %s is refused', (member) => {
  expect(problem(text(without(member), 'installed'))).toMatch(new RegExp(`"${member}".*"installed"`))
})

test('CS-3 installed may lack its secret and redirect URIs, which a public client has no use for', () => {
  const { client_secret, redirect_uris, ...rest } = web
  expect(parseClientSecrets(text(rest, 'installed'))).toMatchObject({ type: 'installed', redirectUris: [] })
  expect(parseClientSecrets(text(rest, 'installed'))).not.toHaveProperty('clientSecret')
})

test.each(['client_id', 'client_secret'])('CS-4 a placeholder in %s is refused by name', (member) => {
  expect(problem(text({ ...web, [member]: '[[INSERT IT HERE]]' }))).toMatch(new RegExp(`"${member}".*placeholder`))
})

test('CS-5 what is valid comes back as it was written, unknown members too', () => {
  const section = { ...web, revoke_uri: 'https://oauth2.googleapis.com/revoke', project_id: 'p', nested: { a: [1] } }
  expect(loadClientSecrets(fileWith(text(section)))).toEqual({
    type: 'web',
    clientId: web.client_id,
    clientSecret: web.client_secret,
    redirectUris: web.redirect_uris,
    authUri: web.auth_uri,
    tokenUri: web.token_uri,
    raw: section,
  })
})

test('CS-6 a missing file: the message has its path, the code and what to do', () => {
  const path = join(tmpdir(), 'no-such-directory', 'client_secrets.json')
  expect(problemOf(() => loadClientSecrets(path))).toMatch(/no-such-directory.*ENOENT.*clientId/)
  expect(() => loadClientSecrets(path)).toThrow(
    expect.objectContaining({ cause: expect.objectContaining({ code: 'ENOENT' }) }),
  )
})

test('CS-6 a directory in the place of the file', () => {
  expect(problemOf(() => loadClientSecrets(tmpdir()))).toContain('EISDIR')
})

test.each(['', '{', `${text(web)}}`, text(web).replaceAll('"', "'"), '\u0000', `{"web": secret-canary}`])(
  'CS-7 broken JSON is the same class of error, and none of it is shown: %j',
  (json) => {
    expect(problem(json)).toBe('Client secrets: the file is not JSON.')
    const path = fileWith(json)
    expect(problemOf(() => loadClientSecrets(path))).toContain(path)
  },
)

test('CS-8 a cache: read and checked once, never from disk again; what is bad is not remembered', () => {
  const cache = new Map<string, ClientSecrets>()
  const path = fileWith(text({ ...web, client_id: '[[ID]]' }))
  expect(problemOf(() => loadClientSecrets(path, { cache }))).toContain('placeholder')
  expect(cache.size).toBe(0)
  writeFileSync(path, text(web))
  const first = loadClientSecrets(path, { cache })
  expect([...cache]).toEqual([[path, first]])
  rmSync(path)
  expect(loadClientSecrets(path, { cache })).toBe(first)
  expect(problemOf(() => loadClientSecrets(path))).toContain('ENOENT')
})

test('L2: a byte order mark is no part of the JSON', () => {
  expect(loadClientSecrets(fileWith(`\uFEFF${text(web)}`))).toMatchObject({ clientId: web.client_id })
})

test.each(['null', '[]', '"x"', '1'])('a section that is %s is refused, naming its type', (section) => {
  expect(problem(`{"web":${section}}`)).toContain('"web"')
})

test.each(['client_id', 'client_secret', 'auth_uri', 'token_uri'])(
  '%s of another type, or empty, is refused',
  (name) => {
    for (const value of [1, true, {}, [], '']) {
      expect(problem(text({ ...web, [name]: value }))).toContain(`"${name}"`)
    }
  },
)

test.each([['https://a.example'], 'x', 1, {}, [1], [null]])('redirect_uris: %j', (value) => {
  const json = text({ ...web, redirect_uris: value })
  if (Array.isArray(value) && typeof value[0] === 'string') expect(parseClientSecrets(json).redirectUris).toEqual(value)
  else expect(problem(json)).toContain('"redirect_uris"')
})

test.each(['auth_uri', 'token_uri'])('%s that is no URL is refused by name', (name) => {
  expect(problem(text({ ...web, [name]: 'accounts.google.com/auth' }))).toContain(`"${name}"`)
})

describe('L2: the plugin with clientSecretsFile', () => {
  async function appWith(content: string, options: Partial<OAuth2ClientOptions> = {}) {
    const asked: string[] = []
    const app = Fastify()
    onTestFinished(() => app.close())
    sessionVariants[0]?.register(app)
    app.register(oauth2Client, {
      clientSecretsFile: fileWith(content),
      fetch: async (input) => {
        asked.push(String(input))
        return Response.json({
          issuer: 'https://accounts.google.com',
          authorization_endpoint: 'https://accounts.google.com/o/oauth2/v2/auth',
          token_endpoint: 'https://oauth2.googleapis.com/token',
          jwks_uri: 'https://www.googleapis.com/oauth2/v3/certs',
        })
      },
      ...options,
    })
    await app.ready()
    return { app, asked }
  }
  const authorize = async (app: Awaited<ReturnType<typeof appWith>>['app'], host = 'localhost') => {
    const { headers, statusCode, body } = await app.inject({ url: '/oauth2authorize', headers: { host } })
    return { statusCode, body, url: headers.location === undefined ? undefined : new URL(headers.location) }
  }

  test.each([
    ['https://accounts.google.com/o/oauth2/auth', 'https://oauth2.googleapis.com/token'],
    ['https://accounts.google.com/o/oauth2/v2/auth', 'https://www.googleapis.com/oauth2/v4/token'],
  ])("Google's endpoints mean google(): %s", async (auth_uri, token_uri) => {
    const { app, asked } = await appWith(text({ ...web, auth_uri, token_uri }), { baseUrl: 'https://app.example.com' })
    const { url } = await authorize(app)
    expect(asked).toEqual(['https://accounts.google.com/.well-known/openid-configuration'])
    expect(Object.fromEntries(url?.searchParams ?? [])).toMatchObject({
      client_id: web.client_id,
      redirect_uri: web.redirect_uris[0],
      scope: 'openid email',
      access_type: 'offline',
      include_granted_scopes: 'true',
    })
    expect(url?.href).not.toContain('canary')
  })

  test.each([
    ['https://accounts.google.com.evil.example/auth', 'https://oauth2.googleapis.com/token'],
    ['https://accounts.google.com/auth', 'https://evil.example/token'],
  ])('endpoints that only look like Google are not: %s, %s', async (auth_uri, token_uri) => {
    const { app, asked } = await appWith(text({ ...web, auth_uri, token_uri }), { baseUrl: 'https://app.example.com' })
    expect((await authorize(app)).url?.href).toMatch(auth_uri)
    expect(asked).toEqual([])
  })

  test('other endpoints make a plain provider: used as they are, nothing looked up, no ID token asked for', async () => {
    const section = { ...web, auth_uri: 'https://auth.example.org/a?tenant=1', token_uri: 'https://auth.example.org/t' }
    const { app, asked } = await appWith(text(section), { baseUrl: 'https://app.example.com' })
    const { url } = await authorize(app)
    expect([url?.origin, url?.pathname, url?.searchParams.get('tenant')]).toEqual([
      'https://auth.example.org',
      '/a',
      '1',
    ])
    expect([url?.searchParams.has('scope'), url?.searchParams.has('nonce')]).toEqual([false, false])
    expect(asked).toEqual([])
  })

  test('the callback must be one of redirect_uris: said at registration, or at the first request of a local app', async () => {
    await expect(appWith(text(web), { baseUrl: 'https://other.example.com' })).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringMatching(/https:\/\/other.*redirect_uris.*https:\/\/app/),
    })
    const { app } = await appWith(text(web))
    expect(await authorize(app, 'localhost:3000')).toMatchObject({ statusCode: 500, url: undefined })
  })

  test('an installed client may use any port of this machine, and no other host', async () => {
    const json = text({ ...web, redirect_uris: ['http://localhost'] }, 'installed')
    const { app } = await appWith(json)
    expect((await authorize(app, 'localhost:4321')).url?.searchParams.get('redirect_uri')).toBe(
      'http://localhost:4321/oauth2callback',
    )
    await expect(appWith(json, { baseUrl: 'https://app.example.com' })).rejects.toThrow('redirect_uris')
  })

  test('arguments win over the file', async () => {
    const { app } = await appWith(text(web), { baseUrl: 'https://app.example.com', clientId: 'another' })
    expect((await authorize(app)).url?.searchParams.get('client_id')).toBe('another')
  })

  test.each([
    ['{', 'not JSON'],
    ['{"web":null}', 'web'],
    [text({ ...web, client_secret: '[[SECRET]]' }), 'client_secret'],
  ])('a bad file rejects ready(): %s', async (content, message) => {
    await expect(appWith(content)).rejects.toMatchObject({
      code: 'FST_OAUTH2_CLIENT_SECRETS_INVALID',
      message: expect.stringContaining(message),
    })
  })
})
