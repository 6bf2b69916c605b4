import { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import {
  authorizationCodeGrant,
  authorizationUrl,
  deviceAuthorization,
  deviceAuthorizationGrant,
  Provider,
} from '../../src/flows/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'

// What oauth2client did by wrapping an HTTP client, here with credentials that a flow brought and a store keeps.

const redirectUri = 'http://localhost:9/callback'

async function adopted() {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const { issuer, clientId } = server
  const clientSecret = server.clientSecret as string
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
  const { url, request } = await authorizationUrl(provider, { redirectUri, scopes: ['files.read'] })
  const back = await fetch(url, { redirect: 'manual' })
  const tokens = await authorizationCodeGrant(provider, request, back.headers.get('location') as string)
  const manager = new CredentialManager({ provider: { issuer }, clientId, clientSecret, storage: memoryStore() })
  const user = await manager.user('alice')
  await user.adopt(Credentials.fromTokenSet(provider, tokens, request.scopes))
  const calls = () => server.requests.filter(({ endpoint }) => endpoint === 'api')
  return { server, manager, user, tokens, calls, api: `${issuer}/api/files` }
}

test('TR-1 a call carries the token of the credentials that were adopted', async () => {
  const { user, api, calls, tokens } = await adopted()
  expect((await user.fetch(api)).status).toBe(200)
  expect(calls().map(({ headers }) => headers.authorization)).toEqual([`Bearer ${tokens.accessToken}`])
})

test("TR-2 TR-3 the caller's headers arrive, user agent too, and are never changed", async () => {
  const { user, api, calls } = await adopted()
  const headers = Object.freeze({ 'user-agent': 'theirs/1', 'x-mine': '1', authorization: 'Basic x' })
  const given = new Headers(headers)
  await user.fetch(api, { headers })
  await user.fetch(api, { headers: given })
  for (const { headers: arrived } of calls()) {
    expect(arrived).toMatchObject({ 'user-agent': 'theirs/1', 'x-mine': '1' })
    expect(arrived.authorization).toMatch(/^Bearer /)
  }
  expect(given.get('authorization')).toBe('Basic x')
})

test('TR-4 a client that already wraps another one still works', async () => {
  const { user, api, calls } = await adopted()
  const outer = (input: string, init?: RequestInit) => user.fetch(new Request(input, init))
  expect((await outer(api, { headers: { 'x-mine': '1' } })).status).toBe(200)
  expect(calls()).toHaveLength(1)
})

test('TR-5 CL-22 a header that is no ASCII is refused before anything is sent', async () => {
  const { user, api, calls } = await adopted()
  for (const value of ['\u{1f600}', 'a\nb: c']) {
    await expect(user.fetch(api, { headers: { 'x-mine': value } })).rejects.toThrow(TypeError)
  }
  expect(calls()).toEqual([])
})

test('CL-4 CL-6 a 401 gets a new token and one more try; any other answer comes back as it is', async () => {
  const { user, server, api, calls, tokens } = await adopted()
  server.expireAccessTokens()
  expect((await user.fetch(api, { method: 'POST', body: 'again' })).status).toBe(200)
  expect(calls().map(({ body }) => body)).toEqual(['again', 'again'])
  expect(calls().at(-1)?.headers.authorization).not.toBe(`Bearer ${tokens.accessToken}`)
  expect(server.count('token', 'refresh_token')).toBe(1)
  server.apiAnswer = () => ({ status: 403, body: 'no' })
  expect((await user.fetch(api)).status).toBe(403)
  expect(server.count('token', 'refresh_token')).toBe(1)
})

test('CL-10 a stream that was sent is not sent again as something else', async () => {
  const { user, server, api, calls } = await adopted()
  server.expireAccessTokens()
  const body = Readable.toWeb(Readable.from(['once'])) as ReadableStream
  const response = await user.fetch(api, { method: 'POST', body, duplex: 'half' } as RequestInit)
  expect([response.status, calls().map(({ body }) => body)]).toEqual([401, ['once']])
})

test('a device that was connected works on by itself: what the flow brought is refreshed from the store', async () => {
  const server = await startAuthorizationServer({
    scopes: { 'files.read': {} },
    api: { '/files': { scope: 'files.read', body: [] } },
  })
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
  const { Browser } = await import('../helpers/browser.js')
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
