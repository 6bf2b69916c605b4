import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CredentialStore } from '../../src/index.js'
import { KeyRing, readHeader } from '../../src/keys/key-ring.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import type { Answer } from '../helpers/scripted-provider.js'
import { type SharedStore, sharedKinds } from '../storage/shared-kinds.js'

const KEY = 'the key of this app, which is long enough'
const RETIRED = 'a key that this app no longer has, long enough'
const HOUR = 3_600_001

/** Ways in which a secret could be written down without being readable at first sight. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const found = [
    secret,
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
    encodeURIComponent(secret),
    encodeURIComponent(encodeURIComponent(secret)),
    JSON.stringify(secret).slice(1, -1),
    [...secret].reverse().join(''),
    bytes.toString('utf16le'),
  ]
  // Within something longer, a secret begins at any of the three places of a group of base64.
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replaceAll('=', '')
    const inner = text.slice(before === 0 ? 0 : before + 1, (bytes.length + before) % 3 === 0 ? undefined : -1)
    found.push(inner, inner.replaceAll('+', '-').replaceAll('/', '_'))
  }
  return [...new Set(found)]
}

/** Which secrets are in a text, and how. */
function leaks(secrets: readonly string[], text: string): string[] {
  const folded = text.replaceAll('\0', '')
  return secrets.filter((secret) => spellings(secret).some((form) => text.includes(form) || folded.includes(form)))
}

/** Everything that somebody knows about the app and the person, and a store must not. */
const secretsOf = ({ provider }: TestApp) => [
  ...provider.secrets().filter((secret) => secret.length >= 8),
  KEY,
  'alice@example.com',
  ...['bob', 'carol', 'dave', 'erin'].map((user) => `${user}@example.com`),
]

test('what looks for secrets finds them', () => {
  const secret = 'rt-canary-0123?&/+\u00e4'
  for (const hidden of [
    secret,
    Buffer.from(`x${secret}yz`).toString('base64'),
    Buffer.from(`{"xx":"${secret}"}`).toString('base64url'),
    Buffer.from(`xyz${secret}x`).toString('base64url'),
    Buffer.from(secret).toString('hex'),
    `a=${encodeURIComponent(secret)}&b`,
    Buffer.from(secret, 'utf16le').toString('latin1').replaceAll('\u00c3', ''),
  ]) {
    expect(leaks([secret, 'another-canary'], `before ${hidden} after`)).toEqual([secret])
  }
  expect(leaks([secret], Buffer.from(secret).reverse().toString('base64'))).toEqual([])
})

for (const kind of await sharedKinds(describe)) {
  kind.describe(`in ${kind.name}`, () => {
    let shared: SharedStore
    beforeEach(async () => {
      shared = await kind.open()
    })
    afterEach(() => shared.end())

    const start = (routes?: (app: FastifyInstance) => void) =>
      startApp({
        storage: shared.store,
        client: { encryptionKeys: KEY, refreshBeforeExpiry: 0 },
        ...(routes && { routes }),
      })

    async function signIn({ provider, url }: TestApp, user: string): Promise<Browser> {
      provider.user = user
      const browser = new Browser()
      expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: `sub-${user}` })
      return browser
    }

    test('a whole life leaves nothing that anybody who reads it could use', async () => {
      const app = await start((server) => {
        server.get('/revoke', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.revoke())
      })
      const { provider, url, clock } = app
      provider.refreshTokenPolicy = 'rotate'
      const dumps: string[] = []
      const look = async () => dumps.push(await shared.dump())

      const [alice, bob] = [await signIn(app, 'alice'), await signIn(app, 'bob')]
      await look()
      provider.user = 'alice'
      await alice.goto(`${url}/files`)
      await look()
      // While a refresh is under way, its journal and whatever holds others off are there.
      clock.advance(HOUR)
      const held = provider.hold('token')
      const refreshed = alice.goto(`${url}/profile`)
      await held.arrived()
      await look()
      held.release()
      expect((await refreshed).status).toBe(200)
      // Answers that got lost, failures and grants that ended leave records of their own.
      const answers: [user: string, answer: Answer][] = [
        ['carol', { destroy: true }],
        ['dave', { status: 500, body: 'broken' }],
        ['erin', { status: 400, body: { error: 'invalid_grant' } }],
      ]
      for (const [user, answer] of answers) {
        const browser = await signIn(app, user)
        clock.advance(HOUR)
        provider.tokenAnswer = async (_params, defaults) => {
          await defaults()
          return answer
        }
        expect((await browser.xhr(`${url}/profile`)).status).toBeOneOf([401, 503])
        provider.tokenAnswer = undefined
        await look()
      }
      provider.user = 'bob'
      await bob.goto(`${url}/revoke`)
      const lock = await shared.store.lock?.('user/oauth2/sub-alice', 60_000)
      await look()
      await lock?.release()

      const everything = dumps.join('\n')
      // What is there at all: records, their readable part, and the marker of a flow that was used.
      for (const known of ['user/oauth2/sub-alice', 'used/oauth2']) expect(everything).toContain(known)
      const secrets = secretsOf(app)
      expect(secrets.filter((secret) => /^(at|rt)-canary/.test(secret)).length).toBeGreaterThan(8)
      expect(secrets).toContain(provider.clientSecret)
      expect(leaks(secrets, everything)).toEqual([])
    })

    test('whatever is done to a record, its person gets the reason, and nothing changes for anybody', async () => {
      const app = await start()
      const { provider, url, clock } = app
      const [alice, bob] = [await signIn(app, 'alice'), await signIn(app, 'bob')]
      const place = 'user/oauth2/sub-alice'
      const own = await valueAt(shared.store, place)
      const others = await valueAt(shared.store, 'user/oauth2/sub-bob')
      const context = [provider.issuer, provider.clientId, place]
      const header = { iss: provider.issuer, client_id: provider.clientId }
      const sealed = (key: string, text: string, extra = {}) =>
        new KeyRing([key]).seal('credentials', context, text, { ...header, ...extra })
      const retired = await sealed(RETIRED, '{}')
      const cases: [what: string, value: string, reason: string][] = [
        ['the row of another user', others, 'misplaced'],
        ['sealed with a retired key', retired, 'unknown_key'],
        ['another user’s, sealed with a retired key', await sealedElsewhere(), 'misplaced'],
        ['a record of the next version', await sealed(KEY, '{"v":2,"future":true}'), 'newer_version'],
        ['sealed in the way of the next version', await sealed(KEY, '{}', { v: 2 }), 'newer_version'],
        ['sealed by us, and no record', await sealed(KEY, '{"v":1}'), 'damaged'],
        ...(await Promise.all(
          [
            { attempt: [null] },
            { attempt: { id: 'a', hash: 'h', at: 'noon' } },
            { attempt: null },
            { doubtedSince: 'noon' },
          ].map(
            async (part): Promise<[string, string, string]> => [
              `sealed by us, with ${JSON.stringify(part)}`,
              await sealed(KEY, await reworked(part)),
              'damaged',
            ],
          ),
        )),
        ['never sealed', '{"v":1,"accounts":[]}', 'damaged'],
        ['nothing', ' ', 'damaged'],
        ...truncated(own).map((value): [string, string, string] => [`cut to ${value.length}`, value, 'damaged']),
        ...flips(own).map(([what, value]): [string, string, string] => [`a bit of ${what}`, value, 'damaged']),
      ]
      const tokenRequests = provider.count('token')
      for (const [what, value, reason] of cases) {
        await shared.store.put(place, value)
        const generation = (await shared.store.get(place))?.generation
        clock.advance(HOUR / 100)
        const program = await alice.xhr(`${url}/profile`)
        expect([what, program.status, program.json()]).toMatchObject([
          what,
          503,
          { code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE', reason },
        ])
        expect((await alice.goto(`${url}/profile`)).status).toBe(503)
        if (reason === 'unknown_key') expect(program.json().message).toContain(new KeyRing([RETIRED]).kids[0])
        expect([what, await shared.store.get(place)]).toMatchObject([what, { value, generation }])
        expect([what, (await bob.xhr(`${url}/profile`)).json()]).toMatchObject([what, { user: 'sub-bob' }])
      }
      // Signing in anew, without the cookies of before, is no way to get rid of a record either.
      await shared.store.put(place, retired)
      provider.user = 'alice'
      const anew = await new Browser().goto(`${url}/profile`)
      expect([anew.status, anew.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_CREDENTIALS_UNREADABLE')])
      expect(await valueAt(shared.store, place)).toBe(retired)
      expect(provider.count('token')).toBe(tokenRequests + 1)
      expect(provider.count('revoke')).toBe(0)
      // With the record back in its place, all is as before.
      await shared.store.put(place, own)
      expect((await alice.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
      expect(leaks(secretsOf(app), app.logs.text())).toEqual([])

      async function reworked(part: object) {
        const { accounts, ...record } = JSON.parse(await new KeyRing([KEY]).open('credentials', context, own))
        return JSON.stringify({ ...record, accounts: [{ ...accounts[0], ...part }] })
      }

      function sealedElsewhere() {
        const elsewhere = [provider.issuer, provider.clientId, 'user/oauth2/sub-bob']
        return new KeyRing([RETIRED]).seal('credentials', elsewhere, '{}', header)
      }
    })
  })
}

async function valueAt(store: CredentialStore, place: string): Promise<string> {
  return (await store.get(place))?.value as string
}

function truncated(sealed: string): string[] {
  const ends = [...sealed].flatMap((character, index) => (character === '.' ? [index, index + 1, index + 3] : []))
  return [1, ...ends, sealed.length - 1].map((length) => sealed.slice(0, length))
}

/** The same value with one bit changed: in every member of the header, and at both ends and in the middle of each other part. */
function flips(sealed: string): [what: string, value: string][] {
  const parts = sealed.split('.').map((part) => Buffer.from(part, 'base64url'))
  const header = (parts[0] as Buffer).toString()
  const positions: [part: number, at: number, what: string][] = []
  for (const [member, value] of Object.entries(readHeader(sealed) as Record<string, string>)) {
    positions.push([0, header.indexOf(`"${member}"`) + 1, `the name of "${member}" in the header`])
    positions.push([0, header.indexOf(`"${value}"`) + 2, `"${member}" in the header`])
  }
  positions.push([0, header.indexOf('"sum":"') + 8, '"sum" in the header'], [0, 0, 'the beginning of the header'])
  for (const [part, name] of ['the initialization vector', 'the text', 'the tag'].entries()) {
    const { length } = parts[part + 1] as Buffer
    for (const at of [0, length >> 1, length - 1]) positions.push([part + 1, at, `${name}, byte ${at}`])
  }
  return positions.map(([part, at, what]) => {
    const altered = parts.map((bytes) => Buffer.from(bytes))
    altered[part]![at]! ^= 1
    return [what, altered.map((bytes) => bytes.toString('base64url')).join('.')]
  })
}
