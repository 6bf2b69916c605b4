// What is in a store: damaged, swapped or written by somebody else, it is a coded answer, and stays as it was.
import fc from 'fast-check'
import { beforeEach, describe, expect } from 'vitest'
import { RecordSealer } from '../../src/credentials/vault.js'
import { KeyRing } from '../../src/keys/key-ring.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { type FuzzedApp, fuzzedApp } from './app.js'
import type { RawBrowser } from './client.js'
import { fuzz } from './fuzz.js'
import { described, hostileJson, hostileText, mutations } from './hostile.js'
import { ISSUER } from './in-process-provider.js'

const KEYS = [Buffer.alloc(32, 1)]
const MEMBERS = [
  'v',
  'issuer',
  'clientId',
  'accounts',
  'id',
  'identified',
  'email',
  'claims',
  'idToken',
  'requested',
  'declined',
]
const TOKENS = [
  'tokens',
  'accessToken',
  'tokenType',
  'expiresAt',
  'obtainedAt',
  'refreshToken',
  'scopes',
  'attempt',
  'dead',
]

describe('a store that was tampered with', () => {
  let app: FuzzedApp
  let browser: RawBrowser
  const map = new Map<string, MemoryEntry>()
  beforeEach(async () => {
    map.clear()
    // A record may say that somebody else is refreshing it, who is waited for as long as a request may take.
    app = await fuzzedApp({ storage: memoryStore({ map }), encryptionKeys: KEYS, client: { timeout: 500 } })
    browser = await app.signedIn()
  })

  const members = ['protected', 'iv', 'ciphertext', 'tag', 'unprotected', 'kid', 'v', 'iss', 'client_id', 'check']
  const changes = fc.oneof(
    { weight: 3, arbitrary: mutations },
    { weight: 1, arbitrary: hostileText.map((text) => described(() => text, text)) },
    { weight: 1, arbitrary: hostileJson(members).map((value) => described(() => JSON.stringify(value) ?? '', value)) },
  )
  fuzz('stored records', changes, async (change) => {
    const [key, entry] = [...map].find(([name]) => name.includes('person')) as [string, MemoryEntry]
    const value = change(String(entry.value))
    map.set(key, { ...entry, value })
    const answer = await browser.get('/profile', { accept: 'application/json' })
    app.harmless(answer)
    if (value !== entry.value && answer.status === 200) expect(JSON.parse(answer.body)).toEqual({ user: 'person' })
    // What cannot be read is kept: its key may come back.
    expect(map.get(key)?.value).toBe(value)
    app.harmless(await browser.get('/'))
    map.set(key, entry)
    expect((await browser.get('/profile')).status).toBe(200)
  })
  // Right keys and a wrong mind: an earlier or a later version, or a script that somebody ran.
  const sealer = new RecordSealer(new KeyRing(KEYS), ISSUER, 'client')
  const inside = [...MEMBERS, ...TOKENS]
  const changed = fc.dictionary(fc.constantFrom(...inside), hostileJson(inside), { minKeys: 1, maxKeys: 2 })
  const plain = fc.oneof(
    {
      weight: 2,
      arbitrary: changed.map((other) => described((text: string) => reworked(JSON.parse(text), other), other)),
    },
    { weight: 1, arbitrary: mutations },
    { weight: 1, arbitrary: hostileJson(inside).map((value) => described(() => JSON.stringify(value) ?? '', value)) },
  )
  fuzz('records of other writers', plain, async (change) => {
    const [key, entry] = [...map].find(([name]) => name.includes('person')) as [string, MemoryEntry]
    const text = await sealer.openText(key, String(entry.value))
    map.set(key, { ...entry, value: await sealer.sealText(key, change(text)) })
    for (const path of ['/profile', '/token', '/'])
      app.harmless(await browser.get(path, { accept: 'application/json' }))
    map.set(key, entry)
    expect((await browser.get('/profile')).status).toBe(200)
  })
})

/** The members wherever they are: of the record, of its account, of the account's tokens. */
function reworked(record: Record<string, unknown>, other: Record<string, unknown>): string {
  const [account = {}] = record.accounts as Record<string, unknown>[]
  const part = (names: readonly string[]) => Object.entries(other).filter(([name]) => names.includes(name))
  const tokens = { ...(account.tokens as object), ...Object.fromEntries(part(TOKENS.slice(1, 7))) }
  const changed = {
    ...account,
    tokens,
    ...Object.fromEntries(part([...MEMBERS.slice(4), 'tokens', 'attempt', 'dead'])),
  }
  return JSON.stringify({ ...record, accounts: [changed], ...Object.fromEntries(part(MEMBERS.slice(0, 4))) })
}
