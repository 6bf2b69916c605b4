// What programs relied on in oauth2client's authorized HTTP client, case by case (TR-1 to TR-5); its retries are among the cases of
// the credentials. Inverted, because the original was unsafe: TR-1 (nothing of the client is replaced, and the token goes to the
// provider's origins only).
import { describe, expect, onTestFinished, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import { deviceAuthorization, deviceAuthorizationGrant, Provider } from '../../src/flows/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { person, startProvider } from './person.js'

const apiCalls = ({ requests }: { requests: { endpoint: string }[] }) =>
  requests.filter(({ endpoint }) => endpoint === 'api')

test('TR-1 inverted: a function beside the global one, which stays what it was', async () => {
  const { fetch } = globalThis
  const { alice, api, provider, credentials } = await person()
  expect(await (await alice.fetch(api)).json()).toMatchObject({ ok: true, sub: 'sub-alice' })
  expect(provider.requests.at(-1)?.headers.authorization).toBe(`Bearer ${credentials.accessToken}`)
  expect(globalThis.fetch).toBe(fetch)
  expect((await fetch(api)).status).toBe(401)
})

test('TR-1 inverted: to nowhere else', async () => {
  const elsewhere = await startProvider()
  const { alice } = await person()
  const call = alice.fetch(`${elsewhere.issuer}/api/things`)
  await expect(call).rejects.toMatchObject({ code: 'FST_OAUTH2_ORIGIN_NOT_ALLOWED' })
  expect(elsewhere.requests).toEqual([])
})

describe('headers', () => {
  test("TR-2 the caller's user agent stays; without one it is the platform's", async () => {
    const { alice, api, provider } = await person()
    await alice.fetch(api, { headers: { 'user-agent': 'my-app/1.0' } })
    expect(provider.requests.at(-1)?.headers['user-agent']).toBe('my-app/1.0')
    await alice.fetch(api)
    expect(provider.requests.at(-1)?.headers['user-agent']).not.toContain('my-app')
  })

  test.each([
    ['an object', () => ({ 'x-mine': '1' })],
    ['a list', () => [['x-mine', '1']] as [string, string][]],
    ['Headers', () => new Headers({ 'x-mine': '1' })],
    ['none', () => undefined],
  ])('TR-3 %s: copied, and left as they were', async (_name, make) => {
    const { alice, api, provider } = await person()
    const headers = make()
    const init = { ...(headers && { headers }) }
    await alice.fetch(api, init)
    expect(provider.requests.at(-1)?.headers['x-mine']).toBe(headers && '1')
    expect(init).toEqual({ ...(headers && { headers: make() }) })
    expect([...new Headers(headers).keys()]).not.toContain('authorization')
  })

  test('TR-3 an authorization of the caller gives way', async () => {
    const { alice, api, provider, credentials } = await person()
    await alice.fetch(new Request(api, { headers: { authorization: 'Bearer of-somebody-else' } }))
    expect(provider.requests.at(-1)?.headers.authorization).toBe(`Bearer ${credentials.accessToken}`)
  })

  test('TR-5 values of other types become text; what cannot be a header is refused and not sent', async () => {
    const { alice, api, provider } = await person()
    await alice.fetch(api, { headers: { 'x-count': 5, 'x-flag': true } as unknown as Record<string, string> })
    expect(provider.requests.at(-1)?.headers).toMatchObject({ 'x-count': '5', 'x-flag': 'true' })
    const sent = apiCalls(provider).length
    for (const value of ['→', 'a\r\nx-evil: 1']) {
      await expect(alice.fetch(api, { headers: { 'x-name': value } })).rejects.toThrow(TypeError)
    }
    expect(apiCalls(provider)).toHaveLength(sent)
  })
})

test('TR-4 around a fetch that wraps another one, everything still works, refresh and retry included', async () => {
  const seen: string[] = []
  const wrap =
    (name: string, inner: typeof fetch): typeof fetch =>
    async (input, init) => {
      const response = await inner(input, init)
      seen.push(`${name} ${response.status}`)
      return response
    }
  const { alice, api, provider } = await person({ fetch: wrap('outer', wrap('inner', fetch)) })
  provider.expireAccessTokens()
  seen.length = 0
  expect((await alice.fetch(api)).status).toBe(200)
  const both = (status: number) => [`inner ${status}`, `outer ${status}`]
  // The API, the provider (metadata or tokens), the API again.
  expect(seen.slice(0, 2)).toEqual(both(401))
  expect(seen.slice(-2)).toEqual(both(200))
})

test('TR-4 a wrapper around it works too', async () => {
  const { alice, api, provider } = await person()
  const outer = (input: string, init?: RequestInit) => alice.fetch(new Request(input, init))
  expect((await outer(api, { headers: { 'x-mine': '1' } })).status).toBe(200)
  expect(apiCalls(provider)).toHaveLength(1)
})

test('a device that was connected works on by itself: what the flow brought is refreshed from the store', async () => {
  const server = await startAuthorizationServer({
    scopes: { 'files.read': {} },
    api: { '/files': { scope: 'files.read', body: [] } },
  })
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
  const authorization = await deviceAuthorization(provider, { scopes: ['openid', 'files.read'] })
  const tokens = await deviceAuthorizationGrant(provider, authorization, {
    sleep: async () => {
      const browser = new Browser()
      const code = await browser.submit(await browser.goto(authorization.verificationUri), 0, {
        user_code: authorization.userCode,
      })
      const signIn = await browser.submit(code)
      await browser.submit(await browser.submit(signIn, 0, { username: 'alice', password: 'password' }))
    },
  })
  const manager = new CredentialManager({ provider: { issuer }, clientId, clientSecret, storage: memoryStore() })
  await (await manager.user('tv')).adopt(Credentials.fromTokenSet(provider, tokens, authorization.scopes))
  await server.expireAccessTokens()
  const user = await manager.user('tv')
  expect((await user.fetch(`${issuer}/files`)).status).toBe(200)
  expect(user.accounts()).toMatchObject([{ id: 'sub-alice', scopes: ['openid', 'files.read'] }])
  expect(server.tokenRequests.map(({ grantType }) => grantType.split(':').at(-1))).toEqual([
    'device_code',
    'refresh_token',
  ])
})
