import { inspect } from 'node:util'
import { decodeProtectedHeader } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import {
  DeviceAuthorization,
  type DevicePoll,
  deviceAuthorization,
  deviceAuthorizationGrant,
  Provider,
} from '../../src/flows/index.js'
import { type AuthorizationServerOptions, startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { type Answer, startScriptedProvider } from '../helpers/scripted-provider.js'

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('this should have failed'),
    (error: Error & { code?: string; kind?: string }) => error,
  )

describe('with a real authorization server', () => {
  async function provided(options: AuthorizationServerOptions = {}) {
    const server = await startAuthorizationServer({ scopes: { 'files.read': {}, 'files.write': {} }, ...options })
    onTestFinished(() => server.close())
    const { issuer, clientId, clientSecret } = server
    const { dpop = false } = options
    const make = () => new Provider({ provider: { issuer }, clientId, clientSecret, dpop: Boolean(dpop) })
    return { server, make, provider: make() }
  }

  /** What the person does, on another device. */
  async function enter({ userCode, verificationUri }: DeviceAuthorization, decide = 0) {
    const browser = new Browser()
    const confirm = await browser.submit(await browser.goto(verificationUri), 0, { user_code: userCode })
    const after = await browser.submit(confirm, decide)
    if (decide !== 0 || after.forms.length === 0) return after
    const consent = await browser.submit(after, 0, { username: 'alice', password: 'password' })
    return browser.submit(consent, 0, { scope: ['files.read'] })
  }

  test('L6: with DPoP, all questions are asked with one key, and the tokens are bound to it', async () => {
    const { server, provider } = await provided({ dpop: 'nonce' })
    const authorization = await deviceAuthorization(provider, { scopes: ['openid', 'files.read'] })
    let waits = 0
    const tokens = await deviceAuthorizationGrant(provider, authorization, {
      sleep: async () => {
        waits += 1
        if (waits === 2) await enter(authorization)
      },
    })
    expect(tokens).toMatchObject({ tokenType: 'DPoP', claims: { sub: 'sub-alice' } })
    const shown = server.tokenRequests.map(({ dpop }) => decodeProtectedHeader(dpop as string).jwk)
    // The first question had to be asked twice, for the nonce.
    expect(shown).toHaveLength(3)
    const { d: _, alg: __, ...publicKey } = tokens.dpopKey as NonNullable<typeof tokens.dpopKey>
    expect(shown).toEqual(shown.map(() => publicKey))
  })

  test('DV-2 DV-5 DV-6 the person enters the code while the program waits, which another process does', async () => {
    const { server, make, provider } = await provided()
    const authorization = await deviceAuthorization(provider, { scopes: ['openid', 'files.read', 'files.write'] })
    const kept = authorization.serialize()
    const polls: DevicePoll[] = []
    const waits: number[] = []
    const tokens = await deviceAuthorizationGrant(make(), DeviceAuthorization.fromJSON(kept), {
      onPoll: (poll) => polls.push(poll),
      sleep: async (ms) => {
        if (waits.push(ms) === 3) expect((await enter(authorization)).body).toContain('Connected')
      },
    })
    expect(waits).toEqual([5000, 5000, 5000])
    expect(polls).toMatchObject([
      { attempt: 1, status: 'pending', interval: 5, expiresAt: authorization.expiresAt },
      { attempt: 2, status: 'pending' },
    ])
    expect(tokens).toMatchObject({ scopes: ['openid', 'files.read'], claims: { sub: 'sub-alice' } })
    expect(tokens.refreshToken).toBeTypeOf('string')
    expect(server.tokenRequests).toHaveLength(3)
    expect(server.tokenRequests[0]?.params).toMatchObject({ device_code: authorization.deviceCode })
    const credentials = Credentials.fromTokenSet(provider, tokens, authorization.scopes)
    expect(credentials).toMatchObject({ issuer: server.issuer, userId: 'sub-alice', scopes: ['openid', 'files.read'] })
  })

  test('DV-6 the person refuses', async () => {
    const { provider, server } = await provided()
    const authorization = await deviceAuthorization(provider, { scopes: ['files.read'] })
    const sleep = async () => void (await enter(authorization, 1))
    expect(await failureOf(deviceAuthorizationGrant(provider, authorization, { sleep }))).toMatchObject({
      code: 'FST_OAUTH2_ACCESS_DENIED',
    })
    expect(server.tokenRequests).toHaveLength(1)
  })

  test('the link with the code in it leads to the same question', async () => {
    const { provider } = await provided()
    const { userCode, verificationUriComplete } = await deviceAuthorization(provider, { scopes: ['openid'] })
    const browser = new Browser()
    const page = await browser.submit(await browser.goto(verificationUriComplete as string))
    expect(page.body).toContain('Is this your device?')
    expect(page.body).toContain(userCode)
  })

  test('a wrong code is said to be wrong', async () => {
    const { provider } = await provided()
    const authorization = await deviceAuthorization(provider)
    const browser = new Browser()
    const page = await browser.submit(await browser.goto(authorization.verificationUri), 0, { user_code: 'XXXX-XXXX' })
    expect([page.status, page.body]).toEqual([200, expect.stringContaining('This code is wrong')])
  })
})

const expiresIn = 600
const codes = {
  device_code: 'dc-canary',
  user_code: 'ABCD-EFGH',
  verification_uri: 'https://login.example.com/device',
  expires_in: expiresIn,
}

/** A provider that answers one poll after the other with these; then with tokens. */
async function scripted(answers: Answer[] = [], body: object = codes) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const clock = fakeClock()
  server.deviceAnswer = () => ({ body })
  server.tokenAnswer = () => answers.shift() ?? { body: { access_token: 'at-canary', token_type: 'Bearer' } }
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({
    provider: { issuer },
    clientId,
    clientSecret: clientSecret as string,
    clock: clock.now,
    timeout: 500,
  })
  const waits: number[] = []
  const polls: DevicePoll[] = []
  const sleep = async (ms: number) => {
    waits.push(ms / 1000)
    clock.advance(ms)
  }
  const onPoll = (poll: DevicePoll) => void polls.push(poll)
  return { server, provider, clock, waits, polls, options: { sleep, onPoll } }
}

const error = (code: string, status = 400, extra: object = {}): Answer => ({ status, body: { error: code, ...extra } })
const pending = error('authorization_pending')

describe('the request', () => {
  test('DV-1 a provider without the endpoint', async () => {
    const { server, provider } = await scripted()
    server.deviceAnswer = undefined
    expect(await failureOf(deviceAuthorization(provider))).toMatchObject({
      code: 'FST_OAUTH2_PROVIDER_METADATA',
      message: expect.stringContaining('device_authorization_endpoint'),
    })
  })

  test('DV-2 one POST, with client and scopes', async () => {
    const { server, provider, clock } = await scripted()
    const authorization = await deviceAuthorization(provider, { scopes: ['a', 'b'], params: { device_name: 'tv' } })
    expect(authorization).toMatchObject({
      userCode: 'ABCD-EFGH',
      verificationUri: 'https://login.example.com/device',
      verificationUriComplete: undefined,
      interval: 5,
      expiresAt: clock.now() + expiresIn * 1000,
      scopes: ['a', 'b'],
    })
    expect(server.count('device')).toBe(1)
    const { client_secret: _, ...params } = server.requests.at(-1)?.params ?? {}
    expect(params).toEqual({ client_id: server.clientId, scope: 'a b', device_name: 'tv' })
  })

  test.each<[string, Answer, object]>([
    ['200 and no JSON', { body: 'hello' }, { kind: 'unusable', status: 200 }],
    ['400 and text', { status: 400, body: 'no' }, { kind: 'refused', status: 400 }],
    ['500 {}', { status: 500, body: {} }, { kind: 'in_doubt', status: 500 }],
    ['502 and an error', error('invalid_client', 502), { kind: 'in_doubt', status: 502, error: 'invalid_client' }],
    ['401', error('invalid_client', 401), { kind: 'client', error: 'invalid_client' }],
    ['no device code', { body: { ...codes, device_code: undefined } }, { kind: 'unusable' }],
    ['no link', { body: { ...codes, verification_uri: undefined } }, { kind: 'unusable' }],
    ['a link to a script', { body: { ...codes, verification_uri: 'javascript:alert(1)' } }, { kind: 'unusable' }],
    ['a link that is none', { body: { ...codes, verification_uri: 'login.example.com' } }, { kind: 'unusable' }],
    ['a link to a file', { body: { ...codes, verification_uri: 'file:///etc/passwd' } }, { kind: 'unusable' }],
    ['a code that moves the cursor', { body: { ...codes, user_code: '\u001b[2J' } }, { kind: 'unusable' }],
    ['a code that fills the screen', { body: { ...codes, user_code: 'A'.repeat(65) } }, { kind: 'unusable' }],
    ['a redirect', { status: 302, headers: { location: '/token' } }, { kind: 'refused', status: 302 }],
    ['1 MB', { body: { ...codes, x: 'x'.repeat(1024 * 1024) } }, { kind: 'unusable', status: 200 }],
    ['no answer', { hang: true }, { kind: 'in_doubt' }],
  ])('DV-3 %s', async (_name, answer, expected) => {
    const { server, provider } = await scripted()
    server.deviceAnswer = () => answer
    const failure = await failureOf(deviceAuthorization(provider))
    expect(failure).toMatchObject({ name: 'ProviderFailure', ...expected })
    expect(failure.message).toMatch(/^device authorization request failed/)
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('canary')
  })

  test.each<[object, object]>([
    [
      { verification_uri: undefined, verification_url: 'https://www.google.com/device' },
      { verificationUri: 'https://www.google.com/device' },
    ],
    [{ interval: '7' }, { interval: 7 }],
    [{ interval: null }, { interval: 5 }],
    [{ interval: 0 }, { interval: 5 }],
    [{ interval: -1 }, { interval: 5 }],
    [{ interval: 2 }, { interval: 2 }],
    [{ interval: 86_400 }, { interval: 5 }],
    [{ user_code: 'A'.repeat(64) }, { userCode: 'A'.repeat(64) }],
    [
      { verification_uri_complete: 'https://login.example.com/device?c=1' },
      { verificationUriComplete: 'https://login.example.com/device?c=1' },
    ],
    [{ verification_uri_complete: 'javascript:alert(1)' }, { verificationUriComplete: undefined }],
    [{ verification_uri_complete: 'login.example.com?c=1' }, { verificationUriComplete: undefined }],
    [
      { verification_uri: 'https://x.example/\u001b[2J\nrun: curl evil | sh' },
      { verificationUri: 'https://x.example/%1B[2Jrun:%20curl%20evil%20|%20sh' },
    ],
    [
      { verification_uri_complete: '\thttps://x.example/\u009b2J\u202e?c=1\r\n' },
      { verificationUriComplete: 'https://x.example/%C2%9B2J%E2%80%AE?c=1' },
    ],
  ])('DV-4 deviation %j', async (body, expected) => {
    const { provider } = await scripted([], { ...codes, ...body })
    expect(await deviceAuthorization(provider)).toMatchObject(expected)
  })

  test.each([
    ['120', 120],
    [undefined, 900],
    [null, 900],
    [1e12, 86_400],
  ])('DV-4 expires_in %j is an expiry', async (value, seconds) => {
    const { provider, clock } = await scripted([], { ...codes, expires_in: value })
    expect((await deviceAuthorization(provider)).expiresAt).toBe(clock.now() + seconds * 1000)
  })
})

describe('L7: the value', () => {
  test('shows what the person needs, and the device code to serialize() only', async () => {
    const { provider } = await scripted()
    const authorization = await deviceAuthorization(provider, { scopes: ['a'] })
    const shown = [
      JSON.stringify({ authorization }),
      inspect(authorization, { depth: 9, showHidden: true }),
      String(authorization),
      JSON.stringify({ ...authorization }),
    ]
    for (const text of shown) expect(text).not.toContain('canary')
    expect(inspect(authorization)).toMatch(/^DeviceAuthorization \{ redacted: true,.* userCode: 'ABCD-EFGH'/)
    expect(JSON.parse(JSON.stringify(authorization))).toMatchObject({ userCode: 'ABCD-EFGH', redacted: true })
    const again = DeviceAuthorization.fromJSON(authorization.serialize())
    expect(again).toEqual(authorization)
    expect(again.deviceCode).toBe('dc-canary')
  })

  test.each([
    ['', 'JSON'],
    ['{', 'JSON'],
    ['null', 'this version'],
    ['{}', 'this version'],
    ['[]', 'this version'],
    ['{"redacted":true}', 'Use serialize()'],
    ['{"format":"fastify-oauth2client/device-authorization","v":2}', 'this version'],
  ])('nothing else is taken for one, and what it is instead is said: %s', (text, said) => {
    expect(() => DeviceAuthorization.fromJSON(text)).toThrow(
      expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(said) }),
    )
  })

  test('one member missing, or of another type', async () => {
    const { provider } = await scripted()
    const whole = JSON.parse((await deviceAuthorization(provider)).serialize())
    for (const part of [
      { issuer: '' },
      { clientId: null },
      { deviceCode: '' },
      { userCode: 5 },
      { verificationUri: '' },
      { expiresAt: null },
      { interval: '5s' },
      { interval: 0 },
      { scopes: 'a' },
    ]) {
      const text = JSON.stringify({ ...whole, ...part })
      expect(() => DeviceAuthorization.fromJSON(text)).toThrow(
        expect.objectContaining({
          code: 'FST_OAUTH2_OPTION_INVALID',
          message: expect.stringMatching(new RegExp(`^Option "authorization": .*"${Object.keys(part)[0]}"`)),
        }),
      )
    }
  })
})

describe('L7: waiting', () => {
  const start = async (answers: Answer[], body: object = codes) => {
    const parts = await scripted(answers, body)
    const authorization = await deviceAuthorization(parts.provider)
    const grant = (extra: object = {}) =>
      deviceAuthorizationGrant(parts.provider, authorization, { ...parts.options, ...extra })
    return { ...parts, authorization, grant }
  }

  test('DV-6 pending goes on at the interval that was given', async () => {
    const { grant, waits, server } = await start([pending, pending], { ...codes, interval: 2 })
    expect(await grant()).toMatchObject({ accessToken: 'at-canary' })
    expect(waits).toEqual([2, 2, 2])
    const { params } = server.requests.at(-1) as { params: object }
    expect(params).toMatchObject({
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      device_code: 'dc-canary',
      client_id: server.clientId,
    })
  })

  test.each([200, 400, 403, 428])('pending with status %d is pending', async (status) => {
    const { grant, waits } = await start([error('authorization_pending', status)])
    await grant()
    expect(waits).toEqual([5, 5])
  })

  test('DV-6 slow_down adds five seconds each time, or what the answer says, and stays', async () => {
    const { grant, waits, polls } = await start([
      error('slow_down'),
      error('slow_down', 200, { interval: 30 }),
      error('slow_down', 429, { interval: '1' }),
      pending,
    ])
    await grant()
    expect(waits).toEqual([5, 10, 30, 35, 35])
    expect(polls.map(({ status }) => status)).toEqual(['slow_down', 'slow_down', 'slow_down', 'pending'])
  })

  test('slow_down adds five seconds where it says nothing of use besides', async () => {
    const { grant, waits } = await start([
      error('slow_down', 400, { interval: 1e300 }),
      error('slow_down', 400, { interval: -60 }),
      { status: 400, headers: { 'www-authenticate': 'Bearer error="slow_down"' }, body: '' },
    ])
    await grant()
    expect(waits).toEqual([5, 10, 15, 20])
  })

  test('a provider in trouble is asked less and less often, and as before once it answers', async () => {
    const trouble: Answer[] = [
      { destroy: true },
      { hang: true },
      { status: 503, body: 'down' },
      error('invalid_grant', 500),
      error('server_error'),
      error('access_denied', 502),
    ]
    const { grant, waits, polls } = await start([...trouble, pending])
    await grant()
    expect(waits).toEqual([5, 10, 20, 40, 60, 60, 60, 5])
    expect(new Set(polls.slice(0, 6).map(({ status }) => status))).toEqual(new Set(['unreachable']))
    expect(polls.map(({ interval }) => interval)).toEqual(waits.slice(1))
  })

  test('Retry-After is kept to', async () => {
    const { grant, waits } = await start([{ status: 429, headers: { 'retry-after': '90' }, body: '' }])
    await grant()
    expect(waits).toEqual([5, 90])
  })

  test('a process that comes back without a network waits for it', async () => {
    const { authorization, provider, options, polls } = await start([])
    let down = true
    const again = new Provider({
      provider: provider.options,
      clientId: provider.clientId,
      clientSecret: provider.clientSecret,
      clock: provider.clock,
      fetch: (input, init) => (down ? Promise.reject(new TypeError('fetch failed')) : fetch(input, init)),
    })
    const onPoll = (poll: DevicePoll) => {
      options.onPoll(poll)
      down = false
    }
    await deviceAuthorizationGrant(again, authorization, { ...options, onPoll })
    expect(polls.map(({ status }) => status)).toEqual(['unreachable'])
  })

  test.each(['access_denied', 'authorization_declined'])('DV-6 %s ends it', async (code) => {
    const { grant, server } = await start([error(code)])
    expect(await failureOf(grant())).toMatchObject({ code: 'FST_OAUTH2_ACCESS_DENIED' })
    expect(server.count('token')).toBe(1)
  })

  test('DV-6 expired_token ends it', async () => {
    const { grant } = await start([error('expired_token')])
    expect(await failureOf(grant())).toMatchObject({ code: 'FST_OAUTH2_DEVICE_CODE_EXPIRED' })
  })

  test('DV-6 the expiry ends it without another request, and says what kept the provider from being asked', async () => {
    const { grant, server, waits } = await start(Array(9).fill(pending), { ...codes, expires_in: 12 })
    const late = await failureOf(grant())
    expect(late).toMatchObject({ code: 'FST_OAUTH2_DEVICE_CODE_EXPIRED' })
    expect(late.cause).toBeUndefined()
    expect(waits).toEqual([5, 5, 2])
    expect(server.count('token')).toBe(2)

    const down = await start(Array(9).fill({ status: 503, body: '' }), { ...codes, expires_in: 12 })
    expect(await failureOf(down.grant())).toMatchObject({ cause: { kind: 'in_doubt', status: 503 } })
  })

  test.each<[string, Answer, object]>([
    ['invalid_grant', error('invalid_grant'), { kind: 'invalid_grant' }],
    ['our registration', error('unauthorized_client'), { kind: 'client' }],
    ['another refusal', error('unsupported_grant_type'), { kind: 'refused' }],
    ['nonsense', { body: 'hello' }, { kind: 'unusable' }],
  ])('what is no "not yet" ends it: %s', async (_name, answer, expected) => {
    const { grant, server } = await start([answer])
    const failure = await failureOf(grant())
    expect(failure).toMatchObject({ name: 'ProviderFailure', ...expected })
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('canary')
    expect(server.count('token')).toBe(1)
  })

  test('abort: before, while waiting, and in the middle of a request', async () => {
    const { grant, server, provider, authorization, options } = await start([])
    const reason = new Error('the person went away')
    expect(await failureOf(grant({ signal: AbortSignal.abort(reason) }))).toMatchObject({
      code: 'FST_OAUTH2_FLOW_ABORTED',
      cause: reason,
    })
    const waiting = new AbortController()
    // Longer than any test may take: only the signal can end it.
    const rare = await start([], { ...codes, interval: 500 })
    const given = failureOf(deviceAuthorizationGrant(rare.provider, rare.authorization, { signal: waiting.signal }))
    waiting.abort(reason)
    expect(await given).toMatchObject({ code: 'FST_OAUTH2_FLOW_ABORTED', cause: reason })
    expect([server.count('token'), rare.server.count('token')]).toEqual([0, 0])

    const asking = new AbortController()
    server.tokenAnswer = () => {
      asking.abort(reason)
      return { hang: true }
    }
    const { clientId, clientSecret, clock } = provider
    // Only the signal can end this one in time.
    const patient = new Provider({ provider: provider.options, clientId, clientSecret, clock, timeout: 600_000 })
    const ended = deviceAuthorizationGrant(patient, authorization, { ...options, signal: asking.signal })
    expect(await failureOf(ended)).toMatchObject({
      code: 'FST_OAUTH2_FLOW_ABORTED',
      cause: reason,
    })
    expect(server.count('token')).toBe(1)
  })

  test('what onPoll throws ends it', async () => {
    const { grant, server } = await start([pending])
    const mine = new Error('mine')
    const onPoll = () => {
      throw mine
    }
    expect(await failureOf(grant({ onPoll }))).toBe(mine)
    expect(server.count('token')).toBe(1)
  })

  test('another client or provider is not sent the device code', async () => {
    const { server, authorization, provider, options } = await start([])
    const other = new Provider({ provider: provider.options, clientId: 'other', clientSecret: 'x' })
    const fields = JSON.parse(authorization.serialize())
    const elsewhere = DeviceAuthorization.fromJSON(JSON.stringify({ ...fields, issuer: 'https://other.example' }))
    for (const [attempt, said] of [
      [deviceAuthorizationGrant(other, authorization, options), 'another client'],
      [deviceAuthorizationGrant(provider, elsewhere, options), 'another provider'],
    ] as const) {
      expect(await failureOf(attempt)).toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: expect.stringMatching(new RegExp(`^Option "authorization": was made for ${said}`)),
      })
    }
    expect(server.count('token')).toBe(0)
  })
})
