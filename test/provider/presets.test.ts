import type { JWTPayload } from 'jose'
import { describe, expect, test } from 'vitest'
import { Provider, type ProviderFailure, refreshTokenGrant, revokeToken } from '../../src/flows/index.js'
import { type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import * as presets from '../../src/provider/presets/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { type Recording, startRecorded } from '../helpers/recorded-provider.js'
import type { ScriptedProvider } from '../helpers/scripted-provider.js'
import { recordings } from './recorded/index.js'
import { entra, PERSONAL, TENANT } from './recorded/microsoft.js'

const DRIVE = 'https://www.googleapis.com/auth/drive'

async function appOf(recording: Recording, client: Partial<OAuth2ClientOptions> = {}) {
  const provider = await startRecorded(recording)
  const app = await startApp({
    provider: provider as unknown as ScriptedProvider,
    storage: memoryStore(),
    client: {
      provider: recording.preset(provider.issuer),
      ...(recording.scopes ? { scopes: recording.scopes } : {}),
      ...client,
    },
    routes(fastify) {
      fastify.get('/more', { onRequest: requireOAuth(recording.more) }, async ({ oauth2 }) => ({
        scopes: oauth2.scopes,
      }))
      fastify.get('/things', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
        const response = await oauth2.fetch(`${provider.origin}/things`)
        return reply.code(response.status).send(await response.json())
      })
      fastify.get('/revoke', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.revoke())
    },
  })
  const asked = () => provider.requests(`GET ${recording.authorize}`).map(({ query }) => Object.fromEntries(query))
  return { ...app, provider, asked }
}

describe.each(recordings)('$name', (recording) => {
  test('a sign-in, more scopes, a refresh and the end of it', async () => {
    const { url, browser, provider, asked } = await appOf(recording)
    const { user, email, claims = {}, granted, seen = granted } = recording

    const profile = await browser.goto(`${url}/profile`)
    expect(profile.status, profile.body).toBe(200)
    const known = profile.json()
    expect(known.user).toBe(user.replace('{origin}', provider.origin))
    expect(known.email ?? undefined).toBe(email)
    expect(known.claims ?? {}).toMatchObject(claims)
    expect([...known.scopes].sort()).toEqual([...(seen[0] ?? [])].sort())
    expectAsked(asked()[0], recording.asked[0])

    if (recording.more) {
      const more = await browser.goto(`${url}/more`)
      expect(more.status, more.body).toBe(200)
      expect([...more.json().scopes].sort()).toEqual([...(seen[1] ?? [])].sort())
      expect(asked()).toHaveLength(2)
      expectAsked(asked()[1], recording.asked[1])
    }

    expect((await browser.goto(`${url}/things`)).status).toBe(200)
    const before = provider.refreshToken
    if (recording.refreshed) {
      provider.live.clear()
      const things = await browser.goto(`${url}/things`)
      expect(things.status, things.body).toBe(200)
      const refreshes = provider
        .requests(`POST ${recording.token}`)
        .filter(({ body }) => body.grant_type === 'refresh_token')
      expect(refreshes.map(({ body }) => body.refresh_token)).toEqual([before])
      const again = (await browser.goto(`${url}/profile`)).json()
      expect([...again.scopes].sort()).toEqual([...(seen[recording.more ? 1 : 0] ?? [])].sort())
      expect(again.claims ?? {}).toMatchObject({ ...claims, ...recording.claimsAfterRefresh })
    }

    expect((await browser.goto(`${url}/revoke`)).json()).toEqual({ local: true, remote: recording.revoked })
  })

  test.each(recording.errors)('%j is understood', async (refusal, kind) => {
    const provider = await startRecorded(recording)
    provider.refusal = refusal
    const { clientId, clientSecret } = provider
    const grant = refreshTokenGrant(
      new Provider({ provider: recording.preset(provider.issuer), clientId, clientSecret }),
      'rt-of-the-test',
    )
    const failure = await grant.then(
      () => expect.fail('this should have failed'),
      (error: ProviderFailure) => error,
    )
    expect(failure.kind).toBe(kind)
  })
})

function expectAsked(found: Record<string, string> | undefined, expected: Recording['asked'][number] = {}): void {
  expect(found).toMatchObject({ code_challenge_method: 'S256', response_type: 'code' })
  for (const [name, value] of Object.entries(expected)) {
    const actual = found?.[name] ?? null
    // Their order says nothing; their separator does.
    const separator = value?.includes(',') ? ',' : ' '
    const read = (text: string | null) => (/scope$/.test(name) ? text?.split(separator).sort() : text)
    expect(read(actual), name).toEqual(read(value))
  }
}

describe('Microsoft', () => {
  const answerOf = async (recording: Recording) => {
    const { url, browser } = await appOf(recording)
    const page = await browser.goto(`${url}/profile`)
    return [page.status, /FST_\w+/.exec(page.body)?.[0]]
  }
  const OTHER = '11111111-2222-3333-4444-555555555555'

  test('a tenant takes nobody from another one', async () => {
    expect(await answerOf(entra(TENANT, TENANT, OTHER))).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
    expect(await answerOf(entra('contoso.example', TENANT, OTHER))).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
  })

  test('personal accounts do not get in where work accounts are asked for, whatever page they came through', async () => {
    expect(await answerOf(entra('organizations', '{tenantid}', PERSONAL))).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
    expect(await answerOf(entra('organizations', '{tenantid}'))).toEqual([200, undefined])
    expect(await answerOf(entra('common', '{tenantid}', PERSONAL))).toEqual([200, undefined])
  })

  test.each<[string, (origin: string) => JWTPayload]>([
    ['an issuer that is not made of the tenant', () => ({ iss: 'https://evil.example/v2.0' })],
    ['another tenant in the issuer than in tid', () => ({ tid: OTHER })],
    ['no tid', () => ({ tid: undefined })],
    ['a tid that is none', (origin) => ({ tid: '../common', iss: `${origin}/../common/v2.0` })],
    ['the template itself', (origin) => ({ tid: '{tenantid}', iss: `${origin}/{tenantid}/v2.0` })],
  ])('%s is refused', async (_name, changed) => {
    const recording = entra('common', '{tenantid}')
    const idToken = (origin: string) => ({ ...recording.idToken?.(origin), ...changed(origin) })
    expect(await answerOf({ ...recording, idToken })).toEqual([502, 'FST_OAUTH2_EXCHANGE_FAILED'])
  })

  test.each([
    [TENANT, 200],
    ['{tenantid}', 200],
    [PERSONAL, 502],
  ])('a key of %s signs for its tenant only', async (owner, status) => {
    const recording = entra('common', '{tenantid}')
    const { url, browser, provider } = await appOf(recording)
    const answer = provider.answer.bind(provider)
    provider.answer = async (heard) => {
      const { body, ...rest } = await answer(heard)
      const keys = (body as { keys?: object[] } | undefined)?.keys?.map((key) => ({
        ...key,
        issuer: `${provider.origin}/${owner}/v2.0`,
      }))
      return { ...rest, ...(body === undefined ? {} : { body: keys ? { keys } : body }) }
    }
    expect((await browser.goto(`${url}/profile`)).status).toBe(status)
  })

  test('metadata of somebody else is refused, and named', async () => {
    const { issuer } = await startRecorded(entra('common', 'evil'))
    const provider = new Provider({ provider: presets.microsoft({ issuer }), clientId: 'x' })
    await expect(provider.configuration()).rejects.toMatchObject({
      code: 'FST_OAUTH2_PROVIDER_METADATA',
      message: expect.stringContaining('/evil/v2.0'),
    })
  })

  test('a tenant that would change the address is refused', () => {
    expect(() => presets.microsoft({ tenant: 'a/b' })).toThrow(
      expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
    )
  })
})

describe('GitHub', () => {
  const recording = recordings.find(({ name }) => name === 'GitHub App') as Recording

  test('an answer of another issuer is refused, though it comes with state', async () => {
    const { url, browser, provider } = await appOf({ ...recording, back: () => ({ iss: 'https://evil.example' }) })
    expect((await browser.goto(`${url}/profile`)).status).toBe(400)
    expect(provider.requests(`POST ${recording.token}`)).toEqual([])
  })

  test('a grant whose refresh token is of no more use has ended', async () => {
    const provider = await startRecorded(recording)
    provider.refusal = { body: { error: 'bad_refresh_token' } }
    const { clientId, clientSecret, issuer } = provider
    const known = new Provider({ provider: presets.github({ issuer }), clientId, clientSecret })
    expect(await revokeToken(known, 'rt-1')).toBe('revoked')
    provider.refusal = { status: 500, body: {} }
    expect(await revokeToken(known, 'rt-1')).toBe('failed')
    expect(await revokeToken(known, 'at-1', 'access_token')).toBe('revoked')
  })

  test.each([
    [undefined, 'https://api.github.com'],
    ['https://github.example.com', 'https://github.example.com'],
    ['https://github.example.com/login/oauth', 'https://github.example.com'],
    ['https://example.ghe.com', 'https://api.example.ghe.com'],
  ])('the API of %s is at %s', (issuer, origin) => {
    const provider = presets.github(issuer === undefined ? {} : { issuer })
    expect(provider.apiOrigins).toEqual([origin])
    const host = issuer ? new URL(issuer).origin : 'https://github.com'
    expect(provider.token_endpoint).toBe(`${host}/login/oauth/access_token`)
  })
})

describe('every preset', () => {
  const { auth0, keycloak, okta, ...fixed } = presets
  const make: [string, (options: { issuer: string }) => presets.ProviderOptions][] = Object.entries({
    ...fixed,
    auth0,
    keycloak,
    okta,
  })

  test.each(make)('%s moves as a whole', async (_name, preset) => {
    const issuer = 'https://moved.example'
    const options = preset({ issuer })
    expect(options.issuer).toBe(issuer)
    const asked: string[] = []
    const fetch = async (url: string | URL | Request) => {
      asked.push(String(url))
      return new Response('{}', { status: 404 })
    }
    const context = { accessToken: 'x', clientId: 'x', issuer, fetch }
    await options.identity?.(context).catch(() => {})
    await options.revoke?.(context).catch(() => {})
    const places = [...Object.values(options).filter((value) => /^https?:/.test(String(value))), ...asked]
    for (const place of [...places, ...(options.apiOrigins ?? [])]) expect(new URL(String(place)).origin).toBe(issuer)
  })

  test.each(make)('%s says which option is wrong', (_name, preset) => {
    for (const issuer of ['nonsense', undefined as unknown as string, 'http://elsewhere.example']) {
      if (issuer === undefined && _name in { ...fixed }) continue
      expect(() => new Provider({ provider: preset({ issuer }), clientId: 'x' })).toThrow(
        expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
      )
    }
  })

  test('tokens go to the API of the provider, and not to others', () => {
    const origins = Object.fromEntries(
      Object.entries(fixed).map(([name, preset]) => [name, (preset as () => presets.ProviderOptions)().apiOrigins]),
    )
    expect(origins).toEqual({
      atlassian: ['https://api.atlassian.com'],
      discord: ['https://discord.com'],
      github: ['https://api.github.com'],
      gitlab: ['https://gitlab.com'],
      google: ['https://*.googleapis.com'],
      microsoft: ['https://graph.microsoft.com'],
      notion: ['https://api.notion.com'],
      salesforce: ['https://*.salesforce.com'],
      signInWithSlack: ['https://slack.com'],
      slack: ['https://slack.com', 'https://files.slack.com'],
      twitch: ['https://api.twitch.tv'],
    })
  })
})

test.each<[string, presets.ProviderOptions, string[], string[], boolean]>([
  ['GitHub', presets.github(), ['repo', 'admin:org'], ['public_repo', 'read:org'], true],
  ['GitHub', presets.github(), ['public_repo'], ['repo'], false],
  ['GitLab', presets.gitlab(), ['api'], ['read_user'], true],
  ['Microsoft', presets.microsoft(), ['https://graph.microsoft.com/Files.ReadWrite.All'], ['files.read'], true],
  ['Microsoft', presets.microsoft(), ['api://other/Files.Read'], ['Files.Read'], false],
  ['Salesforce', presets.salesforce(), ['full', 'refresh_token'], ['api', 'offline_access'], true],
  ['Google', presets.google(), ['https://mail.google.com/'], ['https://www.googleapis.com/auth/gmail.send'], true],
  ['Google', presets.google(), [DRIVE], [`${DRIVE}.metadata.readonly`, `${DRIVE}.file`], true],
  ['Google', presets.google(), [DRIVE], [`${DRIVE}.appdata`], false],
])('%s: what is granted includes what is needed', (_name, provider, granted, needed, covered) => {
  expect(new Provider({ provider, clientId: 'x' }).scopes.covers(granted, needed)).toBe(covered)
})
