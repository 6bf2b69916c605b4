import { createPublicKey } from 'node:crypto'
import { inspect } from 'node:util'
import { exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { endSessionUrl, Provider, verifyIdToken, verifyLogoutToken } from '../../src/flows/index.js'
import type { LogoutTokenProblem } from '../../src/index.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

async function provided() {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const clock = fakeClock(1_800_000_000_000)
  const now = clock.now() / 1000
  const provider = new Provider({
    provider: { issuer: server.issuer },
    clientId: server.clientId,
    clock: clock.now,
    timeout: 500,
  })
  const claims: JWTPayload = {
    iss: server.issuer,
    aud: server.clientId,
    sub: 'alice',
    sid: 'session-1',
    iat: now,
    exp: now + 120,
    jti: 'token-1',
    events: { [EVENT]: {} },
  }
  const verdict = async (token: string) => {
    try {
      const { sub, sid } = await verifyLogoutToken(provider, token)
      return [sub, sid]
    } catch (error) {
      const text = inspect(error, { depth: 9, showHidden: true })
      for (const part of String(token).split('.')) if (part.length > 20) expect(text).not.toContain(part)
      expect(text).not.toContain('alice')
      const { code, reason, statusCode } = error as Record<string, unknown>
      if (code !== 'FST_OAUTH2_LOGOUT_TOKEN_INVALID') return code
      expect(statusCode).toBe(400)
      return reason
    }
  }
  return { server, clock, now, provider, claims, verdict }
}

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

test('A17 what a logout token may say', async () => {
  const { server, claims, verdict, now } = await provided()
  const { sub, sid, ...rest } = claims
  expect(await verdict(await server.sign(claims))).toEqual(['alice', 'session-1'])
  expect(await verdict(await server.sign({ ...rest, sub: sub as string }))).toEqual(['alice', undefined])
  expect(await verdict(await server.sign({ ...rest, sid }))).toEqual([undefined, 'session-1'])
  for (const typ of ['logout+jwt', 'application/logout+jwt', 'LOGOUT+JWT', 'JWT'])
    expect(await verdict(await server.sign(claims, { typ })), typ).toEqual(['alice', 'session-1'])
  expect(await verdict(await server.sign({ ...claims, aud: ['other', server.clientId] }))).toHaveLength(2)
  expect(await verdict(await server.sign({ ...claims, events: { other: {}, [EVENT]: { x: 1 } } }))).toHaveLength(2)
  // Clocks differ.
  expect(await verdict(await server.sign({ ...claims, iat: now + 50, exp: now - 50 }))).toHaveLength(2)
})

test('A17 what is no logout token, or says something else, ends nothing', async () => {
  const { server, claims, verdict, now } = await provided()
  const { sub: _sub, sid: _sid, ...rest } = claims
  const without = (name: string) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))
  const stranger = await generateKeyPair('RS256')
  const es256 = await generateKeyPair('ES256')
  const cases: [string, LogoutTokenProblem, JWTPayload | string, Record<string, string>?][] = [
    ['an ID token’s type', 'malformed', claims, { typ: 'at+jwt' }],
    ['no event', 'malformed', without('events')],
    ['wrong event', 'event', { ...claims, events: { 'http://schemas.openid.net/event/other': {} } }],
    ['events that are null', 'event', { ...claims, events: null }],
    ['events that are text', 'event', { ...claims, events: EVENT }],
    ['events that are a list', 'event', { ...claims, events: [EVENT] }],
    ['an event that is no object', 'event', { ...claims, events: { [EVENT]: true } }],
    ['an event that is null', 'event', { ...claims, events: { [EVENT]: null } }],
    ['an inherited event', 'event', { ...claims, events: JSON.parse(`{"__proto__":{"${EVENT}":{}}}`) }],
    ['a nonce', 'nonce', { ...claims, nonce: 'n' }],
    ['an empty nonce', 'nonce', { ...claims, nonce: '' }],
    ['another audience', 'audience', { ...claims, aud: 'other' }],
    ['no audience', 'malformed', without('aud')],
    ['another issuer', 'issuer', { ...claims, iss: 'https://evil.example' }],
    ['expired', 'expired', { ...claims, exp: now - 61 }],
    ['without an end', 'malformed', without('exp')],
    ['from the future', 'not_yet_valid', { ...claims, iat: now + 61 }],
    ['without a beginning', 'malformed', without('iat')],
    ['nobody’s', 'session', rest],
    ['a session that is no name', 'session', { ...claims, sid: 5 as never }],
    ['a session without a name', 'session', { ...claims, sid: '' }],
    ['a person that is no name', 'subject', { ...claims, sub: 5 as never }],
    ['a list of people', 'subject', { ...claims, sub: ['alice'] as never }],
    ['a person without a name', 'subject', { ...claims, sub: '' }],
    ['without an id', 'malformed', without('jti')],
    ['an empty id', 'malformed', { ...claims, jti: '' }],
    ['an id that is no name', 'malformed', { ...claims, jti: 5 as never }],
    ['100 kB', 'too_large', { ...claims, padding: 'x'.repeat(100_000) }],
    ['alg none', 'algorithm', `${b64({ alg: 'none' })}.${b64(claims)}.`],
    ['no JWT', 'malformed', 'x'],
    ['no text', 'malformed', undefined as never],
  ]
  for (const [name, problem, token, header] of cases) {
    expect(await verdict(typeof token === 'object' ? await server.sign(token, header) : token), name).toBe(problem)
  }
  const signed = (alg: string, key: Parameters<SignJWT['sign']>[0], kid?: string) =>
    new SignJWT(claims).setProtectedHeader({ alg, ...(kid ? { kid } : {}) }).sign(key)
  expect(await verdict(await signed('RS256', stranger.privateKey))).toBe('signature')
  expect(await verdict(await signed('RS256', stranger.privateKey, 'unknown'))).toBe('unknown_key')
  expect(await verdict(await signed('ES256', es256.privateKey))).toBe('algorithm')
  expect(await verdict(await signed('HS256', Buffer.from(server.clientSecret as string)))).toBe('algorithm')
  expect(await verdict(await signed('HS256', Buffer.from(await publicKey(server))))).toBe('algorithm')
})

async function publicKey(server: ScriptedProvider): Promise<string> {
  const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: never[] }
  return exportSPKI(createPublicKey({ key: keys[0] as never, format: 'jwk' }) as never)
}

test('A17 neither kind of token passes for the other', async () => {
  const { server, claims, provider, verdict, now } = await provided()
  const logoutToken = await server.sign(claims, { typ: 'logout+jwt' })
  await expect(verifyIdToken(provider, logoutToken)).rejects.toThrow('malformed')
  const idToken = { iss: server.issuer, aud: server.clientId, sub: 'alice', iat: now, exp: now + 3600, nonce: 'n' }
  expect(await verdict(await server.sign(idToken))).toBe('malformed')
})

test('where a session at the provider ends', async () => {
  const { server, provider } = await provided()
  const at = (metadata: object) =>
    new Provider({ provider: { issuer: server.issuer, ...metadata }, clientId: 'web app', clientSecret: 'x' })
  expect(await endSessionUrl(provider)).toBeUndefined()
  const endpoint = `${server.issuer}/logout?tenant=1`
  const endpoints = {
    authorization_endpoint: `${server.issuer}/a`,
    token_endpoint: `${server.issuer}/t`,
    end_session_endpoint: endpoint,
  }
  const url = new URL(
    (await endSessionUrl(at(endpoints), {
      idTokenHint: 'a.b.c',
      postLogoutRedirectUri: 'https://app.example.com/bye?x=1',
      state: 's',
    })) as string,
  )
  expect(url.pathname).toBe('/logout')
  expect(Object.fromEntries(url.searchParams)).toEqual({
    tenant: '1',
    client_id: 'web app',
    id_token_hint: 'a.b.c',
    post_logout_redirect_uri: 'https://app.example.com/bye?x=1',
    state: 's',
  })
  const long = await endSessionUrl(at(endpoints), { idTokenHint: 'x'.repeat(6_001) })
  expect(long).toBe(`${endpoint}&client_id=web+app`)
  const longest = await endSessionUrl(at(endpoints), { idTokenHint: 'x'.repeat(6_000) })
  expect(new URL(longest as string).searchParams.get('id_token_hint')).toHaveLength(6_000)
  for (const nothing of [{}, { idTokenHint: '', postLogoutRedirectUri: '', state: '' }]) {
    expect(await endSessionUrl(at(endpoints), nothing)).toBe(long)
  }
})
