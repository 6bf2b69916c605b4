/** Credentials of a person, and a manager that keeps them: what a program without a web app has. */
import { onTestFinished } from 'vitest'
import { CredentialManager, type CredentialManagerOptions, Credentials } from '../../src/credentials/index.js'
import { authorizationCodeGrant, authorizationUrl, Provider } from '../../src/flows/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

export const HOUR = 3_600_000
/** When access tokens from now have expired. */
export const LATER = HOUR + 60_000
export const SCOPES = ['openid', 'email', 'files.read']

export async function startProvider(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  return provider
}

/** Goes the whole way of an authorization, as a program does that calls the flows itself. */
export async function obtain(provider: ScriptedProvider, scopes: readonly string[] = SCOPES): Promise<Credentials> {
  const { issuer, clientId, clientSecret } = provider
  const client = new Provider({ provider: { issuer }, clientId, clientSecret: clientSecret as string })
  const { url, request } = await authorizationUrl(client, { redirectUri: 'http://localhost/callback', scopes })
  const { headers } = await fetch(url, { redirect: 'manual' })
  const callback = new URL(headers.get('location') as string)
  const tokens = await authorizationCodeGrant(client, request, callback.search.slice(1))
  return Credentials.fromTokenSet(client, tokens, request.scopes)
}

export function startManager(provider: ScriptedProvider, options: Partial<CredentialManagerOptions> = {}) {
  const { issuer, clientId, clientSecret } = provider
  const manager = new CredentialManager({
    provider: { issuer },
    clientId,
    clientSecret: clientSecret as string,
    storage: memoryStore(),
    encryptionKeys: 'the key of every program of this test',
    ...options,
  })
  onTestFinished(() => manager.close())
  return manager
}

/** Alice, who authorized a moment ago. */
export async function person(options: Partial<CredentialManagerOptions> = {}) {
  const provider = await startProvider()
  const clock = fakeClock()
  const storage = options.storage ?? memoryStore()
  /** Another program with the same store. */
  const another = () => startManager(provider, { storage, clock: clock.now, ...options })
  const manager = another()
  const alice = await manager.user('alice')
  const credentials = await obtain(provider)
  await alice.adopt(credentials)
  const api = `${provider.issuer}/api/things`
  const refreshes = () => provider.count('token', 'refresh_token')
  return { provider, clock, storage, another, manager, alice, credentials, api, refreshes }
}
