import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { authorizationUrl, deviceAuthorization, Provider } from '../../src/flows/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import type { FlowTask } from '../helpers/flow-child.js'
import { type Compiled, compileSources, ended } from '../helpers/processes.js'

let compiled: Compiled
beforeAll(async () => {
  compiled = await compileSources(['test/helpers/flow-child'])
}, 120_000)
afterAll(() => compiled.remove())

async function provided() {
  const server = await startAuthorizationServer({ autoApprove: { user: 'alice' } })
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const registration = { issuer, clientId, clientSecret }
  const finish = async (task: Partial<FlowTask>) => {
    const { code, output } = await ended(compiled.start('test/helpers/flow-child.js', { ...registration, ...task }))
    expect(code, output).toBe(0)
    return JSON.parse(output)
  }
  return { server, finish, provider: new Provider({ provider: { issuer }, clientId, clientSecret }) }
}

test('an authorization request that one process began is finished by another, which knows its JSON and no more', async () => {
  const { provider, finish } = await provided()
  const redirectUri = 'http://localhost:9/callback'
  const { url, request } = await authorizationUrl(provider, { redirectUri, scopes: ['openid', 'email'] })
  const answer = await fetch(url, { redirect: 'manual' })
  const tokens = await finish({ request: JSON.stringify(request), callback: answer.headers.get('location') as string })
  expect(tokens).toMatchObject({ claims: { sub: 'sub-alice' }, scopes: ['openid', 'email'] })
})

test('DV-6 so is a device authorization', async () => {
  const { server, provider, finish } = await provided()
  const authorization = await deviceAuthorization(provider, { scopes: ['openid'] })
  const browser = new Browser()
  const code = await browser.goto(authorization.verificationUri)
  const signIn = await browser.submit(await browser.submit(code, 0, { user_code: authorization.userCode }))
  const consent = await browser.submit(signIn, 0, { username: 'bob', password: 'password' })
  expect((await browser.submit(consent)).body).toContain('Connected')
  const tokens = await finish({ device: authorization.serialize() })
  expect(tokens).toMatchObject({ claims: { sub: 'sub-bob' } })
  expect(server.tokenRequests).toHaveLength(1)
})
