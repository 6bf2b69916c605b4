// What programs relied on in oauth2client's OAuth2Credentials, case by case (CL-1 to CL-23), and in AccessTokenCredentials, whose
// cases are numbered here (AT-1 to AT-4). Inverted, because the original was unsafe: CL-3 (no class is loaded by a name in the
// data), CL-5 and CL-15 (only invalid_grant ends a grant), CL-9
// (a new token for a call, once, so that an API that refuses everything costs one refresh a minute), CL-10 (a stream that was sent is gone, and is not rewound), CL-14
// (nothing that a provider wrote is shown), CL-17 (what is stored goes, whatever the provider says), CL-19 (POST from the start),
// CL-21 (scopes come with tokens; nobody asks for them with a token in a URL).
import { describe, expect, test } from 'vitest'
import { Credentials, type CredentialsFields } from '../../src/credentials/index.js'
import { Provider, refreshTokenGrant } from '../../src/flows/index.js'
import type { CredentialsChanged } from '../../src/index.js'
import { fakeClock } from '../helpers/clock.js'
import { HOUR, LATER, obtain, person, startManager, startProvider } from './person.js'

const fields: CredentialsFields = {
  accessToken: 'at-canary',
  expiresAt: 1_800_000_000_000,
  refreshToken: 'rt-canary',
  scopes: ['openid', 'files.read'],
  idToken: 'id-canary',
  claims: { sub: 'sub-alice' },
  issuer: 'https://issuer.example',
  clientId: 'client',
  userId: 'sub-alice',
}
const REQUIRED = { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }

describe('as text', () => {
  test('CL-1 what was written comes back with every member', () => {
    const credentials = new Credentials(fields)
    expect(Credentials.fromJSON(credentials.serialize())).toEqual(credentials)
  })

  test('CL-2 writing and redacting change nothing in what is written', () => {
    const credentials = new Credentials(fields)
    const before = { ...credentials }
    expect(JSON.stringify(credentials)).not.toContain('canary')
    credentials.serialize()
    expect({ ...credentials }).toEqual(before)
  })

  test.each([
    ['{"_class":"Popen","_module":"subprocess"}'],
    ['{"_class":"OAuth2Credentials","_module":"evil.client"}'],
    ['{}'],
    ['null'],
    [''],
  ])('CL-3 inverted: %s is refused, and nothing is loaded by its name', (json) => {
    for (const read of [Credentials.fromJSON, Credentials.fromOAuth2Client]) {
      expect(() => read(json)).toThrow(expect.objectContaining({ code: 'FST_OAUTH2_CREDENTIALS_INVALID' }))
    }
  })
})

describe('an API that says 401', () => {
  test('CL-4 the token is replaced and the call made again', async () => {
    const { alice, api, provider, refreshes, credentials } = await person()
    provider.expireAccessTokens()
    expect((await alice.fetch(api)).status).toBe(200)
    expect([provider.count('api'), refreshes()]).toEqual([2, 1])
    expect(alice.credentials?.accessToken).not.toBe(credentials.accessToken)
  })

  test('CL-5 the provider refuses a new one for good: a coded error, and nothing is left to use', async () => {
    const { alice, api, provider, manager } = await person()
    provider.withdraw()
    await expect(alice.fetch(api)).rejects.toMatchObject(REQUIRED)
    const again = await manager.user('alice')
    for (const user of [alice, again]) expect([user.hasCredentials(), user.credentials]).toEqual([false, null])
    expect(again.accounts()[0]).toMatchObject({ status: 'needs_reauthorization', reason: 'refused' })
  })

  test('CL-5 inverted: any other refusal is no end; the answer of the API is handed over', async () => {
    const { alice, api, provider, another } = await person()
    provider.expireAccessTokens()
    provider.tokenAnswer = () => ({ status: 400, body: { error: 'access_denied' } })
    expect((await alice.fetch(api)).status).toBe(401)
    provider.tokenAnswer = undefined
    expect((await another().user('alice')).hasCredentials()).toBe(true)
  })

  test.each([403, 404, 500])('CL-6 a %i is an answer like any other, and no reason to refresh', async (status) => {
    const { alice, api, provider, refreshes } = await person()
    provider.apiAnswer = () => ({ status, body: { its: 'own' } })
    const response = await alice.fetch(api)
    expect([response.status, await response.json(), refreshes()]).toEqual([status, { its: 'own' }, 0])
  })
})

describe('what another program did', () => {
  test('CL-7 its new token is used, and the provider asked nothing', async () => {
    const { alice, api, clock, another, refreshes } = await person()
    clock.advance(LATER)
    const theirs = await (await another().user('alice')).getAccessToken()
    expect(refreshes()).toBe(1)
    expect((await alice.fetch(api)).status).toBe(200)
    expect((await alice.getAccessToken()).token).toBe(theirs.token)
    expect(refreshes()).toBe(1)
  })

  test('CL-8 its new token has expired by now: a refresh is made', async () => {
    const { alice, clock, another, refreshes } = await person()
    clock.advance(LATER)
    const theirs = await (await another().user('alice')).getAccessToken()
    clock.advance(LATER)
    expect((await alice.getAccessToken()).token).not.toBe(theirs.token)
    expect(refreshes()).toBe(2)
  })
})

test('CL-9 a token that another program got meanwhile is refused too: then a new one, in the same call', async () => {
  const { alice, api, clock, another, provider, refreshes } = await person()
  clock.advance(LATER)
  await (await another().user('alice')).getAccessToken()
  // Both the token that this program has and the one that the other one got are refused.
  clock.advance(-LATER + 60_000)
  provider.expireAccessTokens()
  clock.advance(LATER)
  expect([(await alice.fetch(api)).status, refreshes()]).toEqual([200, 2])
})

test('CL-9 inverted: an API that refuses everything costs one refresh a minute', async () => {
  const { alice, api, clock, provider, refreshes } = await person()
  const refuse = () => provider.expireAccessTokens()
  provider.tokenAnswer = async (_params, defaults) => {
    const answer = await defaults()
    setImmediate(refuse)
    return answer
  }
  refuse()
  for (const wait of [0, 59_000]) {
    clock.advance(wait)
    expect([(await alice.fetch(api)).status, refreshes()]).toEqual([401, 1])
  }
})

describe('bodies', () => {
  test('CL-10 what can be sent again is sent again', async () => {
    const { alice, api, provider } = await person()
    provider.expireAccessTokens()
    expect((await alice.fetch(api, { method: 'POST', body: 'twice' })).status).toBe(200)
    const calls = provider.requests.filter(({ endpoint }) => endpoint === 'api')
    expect(calls.map(({ body }) => body)).toEqual(['twice', 'twice'])
  })

  test('CL-10 inverted: a stream that was sent is gone; the 401 is handed over', async () => {
    const { alice, api, provider } = await person()
    provider.expireAccessTokens()
    const init = { method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' } as RequestInit
    expect((await alice.fetch(api, init)).status).toBe(401)
    expect(provider.count('api')).toBe(1)
  })
})

describe('how long a token lasts', () => {
  test('CL-11 none yet: the first use gets one, the next ones use it, until it expires', async () => {
    const provider = await startProvider()
    const { refreshToken: refresh_token } = await obtain(provider)
    const clock = fakeClock()
    const own = startManager(provider, { clock: clock.now })
    const bob = await own.user('bob')
    const written = { type: 'authorized_user', client_id: provider.clientId, refresh_token }
    await bob.adopt(Credentials.fromAuthorizedUser(written as Record<string, unknown>))
    const count = () => provider.count('token', 'refresh_token')
    const first = await bob.getAccessToken()
    expect(await bob.getAccessToken()).toEqual(first)
    expect(count()).toBe(1)
    clock.advance(LATER)
    expect((await bob.getAccessToken()).token).not.toBe(first.token)
    expect(count()).toBe(2)
  })

  test('CL-12 unknown, past, and to come, in milliseconds since the epoch', async () => {
    const { alice, clock } = await person()
    const { expiresAt } = await alice.getAccessToken()
    expect(Math.abs((expiresAt as number) - clock.now() - HOUR)).toBeLessThan(60_000)
    expect(new Credentials({ accessToken: 'at' }).isExpired(Number.MAX_SAFE_INTEGER)).toBe(false)
    expect(new Credentials({ accessToken: 'at', expiresAt: 0 }).isExpired()).toBe(true)
  })
})

describe('a refresh that fails', () => {
  test.each([
    ['text', { status: 500, body: 'canary' }, undefined, 500],
    ['nothing in particular', { status: 400, body: {} }, undefined, 400],
    ['an error', { status: 400, body: { error: 'invalid_request' } }, 'invalid_request', 400],
    [
      'an error and a description',
      { status: 400, body: { error: 'invalid_grant', error_description: 'canary' } },
      'invalid_grant',
      400,
    ],
  ])(
    'CL-14 with %s: code and status are there to decide by, and nothing that was written',
    async (_name, answer, error, status) => {
      const provider = await startProvider()
      provider.tokenAnswer = () => answer
      const { issuer, clientId, clientSecret } = provider
      const client = new Provider({ provider: { issuer }, clientId, clientSecret: clientSecret as string })
      const failing = refreshTokenGrant(client, 'rt')
      await expect(failing).rejects.toMatchObject({ name: 'ProviderFailure', error, status })
      await expect(failing).rejects.not.toThrow('canary')
    },
  )

  test('CL-15 for good: said once, and stored once', async () => {
    const changes: CredentialsChanged[] = []
    const { alice, clock, provider, another } = await person({
      onCredentialsChanged: (change) => void changes.push(change),
    })
    provider.withdraw()
    clock.advance(LATER)
    await Promise.allSettled([alice.getAccessToken(), alice.getAccessToken()])
    await expect(alice.getAccessToken()).rejects.toMatchObject(REQUIRED)
    expect(changes.filter(({ change }) => change === 'needs_reauthorization')).toHaveLength(1)
    expect((await another().user('alice')).hasCredentials()).toBe(false)
    expect(provider.count('token', 'refresh_token')).toBe(1)
  })

  test.each([502, 503])('CL-15 inverted: a %i with an error in it ends nothing', async (status) => {
    const { alice, clock, provider, another } = await person()
    provider.tokenAnswer = () => ({ status, body: { error: 'invalid_grant' } })
    clock.advance(LATER)
    await expect(alice.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
    expect((await another().user('alice')).hasCredentials()).toBe(true)
  })
})

test('CL-16 a refresh that brings an ID token changes claims and text together; one that brings none, neither', async () => {
  const { alice, clock, provider } = await person()
  provider.idTokenClaims = (claims) => ({ ...claims, name: 'Alice Again' })
  clock.advance(LATER)
  await alice.getAccessToken()
  const { idToken, claims } = alice.credentials as Credentials
  expect(claims).toMatchObject({ name: 'Alice Again' })
  const written = JSON.parse(Buffer.from(idToken?.split('.')[1] as string, 'base64url').toString())
  expect(claims).toMatchObject(written)
  provider.tokenAnswer = async (_params, defaults) => {
    const { id_token: _, ...body } = (await defaults()).body
    return { body }
  }
  clock.advance(LATER)
  await alice.getAccessToken()
  expect(alice.credentials).toMatchObject({ idToken, claims })
})

describe('revoke', () => {
  test('CL-17 ends it here and there', async () => {
    const { alice, another, provider, credentials } = await person()
    expect(await alice.revoke()).toEqual({ local: true, remote: 'revoked' })
    expect(alice.hasCredentials()).toBe(false)
    expect((await another().user('alice')).accounts()).toEqual([])
    expect(provider.isValidAccessToken(credentials.accessToken)).toBe(false)
  })

  test('CL-17 inverted: the provider fails, and what is stored is gone all the same', async () => {
    const { alice, another, provider } = await person()
    provider.revokeAnswer = () => ({ status: 500, body: {} })
    expect(await alice.revoke()).toEqual({ local: true, remote: 'failed' })
    expect((await another().user('alice')).accounts()).toEqual([])
  })

  test('CL-18 the refresh token stands for the grant; without one the access token', async () => {
    const { alice, manager, provider, credentials } = await person()
    const sent = () => provider.requests.filter(({ endpoint }) => endpoint === 'revoke').at(-1)?.params
    await alice.revoke()
    expect(sent()).toMatchObject({ token: credentials.refreshToken, token_type_hint: 'refresh_token' })
    const bob = await manager.user('bob')
    await bob.adopt(Credentials.fromAccessToken('at-of-bob'))
    await bob.revoke()
    expect(sent()).toMatchObject({ token: 'at-of-bob', token_type_hint: 'access_token' })
  })

  test.each([
    ['200', { status: 200, body: {} }],
    ['400 invalid_token: it is gone already', { status: 400, body: { error: 'invalid_token' } }],
  ])('CL-19 and CL-23 one POST with the token in its body; %s', async (_name, answer) => {
    const { alice, provider, credentials } = await person()
    provider.revokeAnswer = () => answer
    expect((await alice.revoke()).remote).toBe('revoked')
    const asked = provider.requests.filter(({ endpoint }) => endpoint === 'revoke')
    expect(asked.map(({ method, url }) => [method, url])).toEqual([['POST', '/revoke']])
    expect(asked[0]?.body).toContain(encodeURIComponent(credentials.refreshToken as string))
  })
})

describe('scopes', () => {
  test('CL-20 text or list, all of them or no; none is no question', async () => {
    const { alice, manager } = await person()
    expect(
      [undefined, '', [], 'files.read', 'openid files.read', ['files.read']].map((s) => alice.hasCredentials(s)),
    ).toEqual(Array(6).fill(true))
    expect(['files.write', ['files.read', 'files.write']].map((s) => alice.hasCredentials(s))).toEqual([false, false])
    const bob = await manager.user('bob')
    await bob.adopt(Credentials.fromAccessToken('at'))
    expect([bob.hasCredentials(), bob.hasCredentials('files.read')]).toEqual([true, false])
  })

  test('CL-21 inverted: they come with tokens. Fewer than before count, none said means unchanged', async () => {
    const { alice, clock, provider } = await person()
    const answering = (scope: string | undefined) => {
      provider.tokenAnswer = async (_params, defaults) => {
        const { scope: _, ...body } = (await defaults()).body
        return { body: scope === undefined ? body : { ...body, scope } }
      }
    }
    answering(undefined)
    clock.advance(LATER)
    expect((await alice.getAccessToken()).scopes).toEqual(['openid', 'email', 'files.read'])
    answering('openid email')
    clock.advance(LATER)
    expect((await alice.getAccessToken()).scopes).toEqual(['openid', 'email'])
    expect(alice.hasCredentials('files.read')).toBe(false)
    expect(provider.requests.filter(({ url }) => /access_token|tokeninfo/.test(url))).toEqual([])
  })
})

test('CL-22 a header value that is none is refused before anything is sent', async () => {
  const { alice, api, provider } = await person()
  await expect(alice.fetch(api, { headers: { 'x-name': 'Æ→' } })).rejects.toThrow(TypeError)
  expect(provider.count('api')).toBe(0)
})

describe('AccessTokenCredentials', () => {
  const withToken = async (expiresAt?: number) => {
    const made = await person()
    const { accessToken } = await obtain(made.provider)
    const bob = await made.manager.user('bob')
    await bob.adopt(Credentials.fromAccessToken(accessToken, { expiresAt, scopes: ['files.read'] }))
    return { ...made, bob, accessToken }
  }

  test('AT-1 a token from elsewhere is used for as long as it works', async () => {
    const { bob, api, accessToken } = await withToken()
    expect((await bob.fetch(api)).status).toBe(200)
    expect(await bob.getAccessToken()).toEqual({
      token: accessToken,
      expiresAt: undefined,
      scopes: ['files.read'],
      tokenType: 'Bearer',
    })
    expect(bob.accounts()[0]).toMatchObject({ refreshable: false })
  })

  test('AT-2 refused by the API: nothing can be refreshed, and that is what the error says', async () => {
    const { bob, api, provider, refreshes } = await withToken()
    provider.expireAccessTokens()
    await expect(bob.fetch(api)).rejects.toMatchObject(REQUIRED)
    expect(refreshes()).toBe(0)
  })

  test('AT-3 expired: the same, without asking anybody', async () => {
    const { bob, api, provider, clock, refreshes } = await withToken(Date.now() + HOUR)
    clock.advance(2 * HOUR)
    expect(bob.hasCredentials()).toBe(false)
    await expect(bob.fetch(api)).rejects.toMatchObject(REQUIRED)
    expect([provider.count('api'), refreshes()]).toEqual([0, 0])
  })

  test('AT-4 as text nothing is lost, and no refresh token can be smuggled in', () => {
    const credentials = Credentials.fromAccessToken('at', {
      expiresAt: 5,
      scopes: ['a'],
      issuer: 'https://issuer.example',
    })
    expect(Credentials.fromJSON(credentials.serialize())).toEqual(credentials)
    expect(Credentials.fromAccessToken('at', { refreshToken: 'rt' } as never).refreshToken).toBeUndefined()
  })

  test('AT-4 what oauth2client wrote is taken over', async () => {
    const json = {
      _class: 'AccessTokenCredentials',
      _module: 'oauth2client.client',
      access_token: 'at',
      user_agent: 'x',
    }
    const { alice } = await person()
    await alice.adopt(Credentials.fromOAuth2Client(json))
    expect(alice.credentials?.accessToken).toBe('at')
  })
})

describe('what is granted by now', () => {
  test('CL-21 the provider is asked, and what it says is written down', async () => {
    const { alice, provider, another } = await person()
    provider.introspectAnswer = () => ({ body: { active: true, scope: 'email' } })
    expect(alice.scopes).toContain('files.read')
    expect(await alice.retrieveScopes()).toEqual(['email', 'openid'])
    expect(alice.hasCredentials('files.read')).toBe(false)
    expect((await another().user('alice')).scopes).toEqual(['email', 'openid'])
    // Nothing was lost on the way.
    provider.expireAccessTokens()
    const { token } = await alice.getAccessToken()
    expect((await alice.getAccessToken({ rejected: token })).token).not.toBe(token)
  })

  test('CL-21 a token that is over is replaced first; a grant that is over says so', async () => {
    const { alice, provider, refreshes } = await person()
    let answers = 0
    provider.introspectAnswer = () => ({ body: answers++ === 0 ? { active: false } : { active: true, scope: 'email' } })
    expect(await alice.retrieveScopes()).toEqual(['email', 'openid'])
    expect(refreshes()).toBe(1)
    provider.introspectAnswer = () => ({ body: { active: false } })
    await expect(alice.retrieveScopes()).rejects.toMatchObject(REQUIRED)
  })

  test('CL-21 inverted: a provider that cannot be asked, and one that does not say', async () => {
    const { alice, provider } = await person()
    await expect(alice.retrieveScopes()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_METADATA' })
    expect(provider.count('introspect')).toBe(0)
    const { alice: bob, provider: silent } = await person()
    silent.introspectAnswer = () => ({ body: { active: true } })
    const before = bob.scopes
    expect([await bob.retrieveScopes(), silent.count('introspect')]).toEqual([before, 1])
  })
})
