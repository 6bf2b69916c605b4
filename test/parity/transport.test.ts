// What programs relied on in oauth2client's authorized HTTP client, case by case (TR-1 to TR-5); its retries are among the cases of
// the credentials. Inverted, because the original was unsafe: TR-1 (nothing of the client is replaced, and the token goes to the
// provider's origins only).
import { describe, expect, test } from 'vitest'
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
