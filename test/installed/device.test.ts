import { expect, onTestFinished, test } from 'vitest'
import type { DeviceAuthorization } from '../../src/flows/index.js'
import { type DeviceFlowOptions, runDeviceFlow } from '../../src/installed/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'

async function start() {
  const server = await startAuthorizationServer({ clients: [{ clientId: 'television' }], scopes: { 'files.read': {} } })
  onTestFinished(() => server.close())
  const run = (options: Omit<DeviceFlowOptions, 'provider' | 'clientId'>) =>
    runDeviceFlow({ provider: { issuer: server.issuer }, clientId: 'television', ...options })
  return { server, run }
}

/** What the person does, on another device. */
async function enter({ userCode, verificationUri }: DeviceAuthorization, decide = 0) {
  const browser = new Browser()
  const confirm = await browser.submit(await browser.goto(verificationUri), 0, { user_code: userCode })
  const after = await browser.submit(confirm, decide)
  if (decide !== 0) return after
  return browser.submit(await browser.submit(after, 0, { username: 'alice', password: 'password' }))
}

test('DV-5: given the code, when the person enters it on another device, then credentials', async () => {
  const { server, run } = await start()
  let shown: DeviceAuthorization | undefined
  const statuses: string[] = []
  const credentials = await run({
    scopes: 'openid email files.read',
    onCode: (authorization) => {
      shown = authorization
    },
    onPoll: ({ status }) => statuses.push(status),
    sleep: async () => {
      if (statuses.length === 1) await enter(shown as DeviceAuthorization)
    },
  })
  expect(statuses).toEqual(['pending'])
  expect(credentials).toMatchObject({ userId: 'sub-alice', email: 'alice@example.test', clientId: 'television' })
  expect(credentials.scopes).toEqual(expect.arrayContaining(['openid', 'email', 'files.read']))
  expect(credentials.issuer).toBe(server.issuer)
})

test('DV-6: the person refuses', async () => {
  const { run } = await start()
  let shown: DeviceAuthorization | undefined
  const refused = run({
    onCode: (authorization) => {
      shown = authorization
    },
    sleep: async () => void (await enter(shown as DeviceAuthorization, 1)),
  })
  await expect(refused).rejects.toMatchObject({ code: 'FST_OAUTH2_ACCESS_DENIED' })
})

test('an abort ends the wait', async () => {
  const { run } = await start()
  const controller = new AbortController()
  const waiting = run({ signal: controller.signal, onCode: () => controller.abort() })
  await expect(waiting).rejects.toMatchObject({ code: 'FST_OAUTH2_FLOW_ABORTED' })
})

test('DV-1: a provider without a device flow says so', async () => {
  const provider = await startScriptedProvider({ clientSecret: null })
  onTestFinished(() => provider.close())
  await expect(
    runDeviceFlow({ provider: { issuer: provider.issuer }, clientId: provider.clientId, onCode: () => {} }),
  ).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_METADATA' })
})
