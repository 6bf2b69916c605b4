/** docs/migrating-from-express-openid-connect.md, as it is printed: the cookie of before is worth a session. */
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { CompactEncrypt } from 'jose'
import { expect, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { startPage } from './page.js'

/** Made by the library itself. */
const real: { secret: string; appSession: string } = JSON.parse(
  readFileSync(new URL('../fixtures/node/app-session.json', import.meta.url), 'utf8'),
)
const NAME = 'appSession'

async function world() {
  const page = await startPage('migrating-from-express-openid-connect.md')
  const env = { ISSUER: page.google.issuer, OLD_SECRET: real.secret }
  const start = (name: string, more = {}) => page.start(name, {}, { env: { ...env, ...more } })
  return { ...page, start }
}

/** A cookie as the library makes it. */
async function appSession(content: object, { secret = real.secret, expiresIn = 3_600, enc = 'A256GCM' } = {}) {
  const exp = Math.floor(Date.now() / 1_000) + expiresIn
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(content)))
    .setProtectedHeader({ alg: 'dir', enc, exp, iat: exp - 7_200, uat: exp - 7_200 } as never)
    .encrypt(new Uint8Array(hkdfSync('sha256', secret, '', 'JWE CEK', 32)))
}

const idToken = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`

function browserWith(value: string, size = 10_000): Browser {
  const browser = new Browser()
  const chunks = value.match(new RegExp(`.{1,${size}}`, 'g')) ?? []
  for (const [index, chunk] of chunks.entries())
    browser.setCookie('localhost', { name: chunks.length > 1 ? `${NAME}.${index}` : NAME, value: chunk })
  return browser
}

const left = (browser: Browser) => browser.cookies().filter(({ name }) => name.startsWith(NAME))

test('the smallest app signs in and out at the old paths, and a missing role is no reason to sign in again', async () => {
  const { google, start } = await world()
  const { url } = await start('from-express-openid-connect')
  const browser = new Browser()
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ sub: 'sub-alice' })
  expect(google.authorizationRequests.at(-1)).toMatchObject({
    redirect_uri: `${url}/callback`,
    audience: 'https://api.example.com',
  })
  const admin = await browser.goto(`${url}/admin`)
  expect([admin.status, admin.json().message]).toEqual([403, 'Only for admin'])
  const home = await browser.goto(`${url}/`)
  await browser.submit(home, 0, {}, { stopAt: ({ origin }) => origin === google.issuer })
  expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
})

test.each([
  ['in one cookie', 10_000],
  ['in several', 300],
])('a cookie of before, %s, is worth a session and what was in it, once', async (_name, size) => {
  const { google, issue, start, stored, tokenRequests } = await world()
  const id_token = idToken({ sub: 'sub-alice', email: 'alice@example.test' })
  const expires_at = Math.floor(Date.now() / 1_000) - 60
  const value = await appSession({ id_token, ...(await issue('alice')), expires_at })
  const browser = browserWith(value, size)
  const { url } = await start('from-app-session')
  expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({ sub: 'sub-alice' })
  expect(left(browser)).toEqual([])
  expect([...(await stored()).keys()]).toEqual(['user/oauth2/sub-alice'])
  expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({ sub: 'sub-alice' })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(google.authorizationRequests).toEqual([])

  // Another browser of the same person: what is stored by now is newer.
  const before = await stored()
  const other = browserWith(await appSession({ id_token, access_token: 'older', expires_at }))
  expect((await other.xhr(`${url}/profile`)).json()).toMatchObject({ sub: 'sub-alice' })
  expect(await stored()).toEqual(before)
})

test('the session of whoever comes with a cookie of before is another than that of a moment ago', async () => {
  const { issue, start } = await world()
  const { url } = await start('from-app-session')
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  const value = await appSession({ id_token: idToken({ sub: 'sub-alice' }), ...(await issue('alice')) })
  browser.setCookie('localhost', { name: NAME, value })
  expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
  expect([typeof before, id() === before]).toEqual(['string', false])
})

test('a cookie that the library itself made is read', async () => {
  const { start } = await world()
  // Whose ID token is in it, and for whom.
  const { app, url } = await start('from-app-session', { ISSUER: 'https://example.eu.auth0.com/', CLIENT_ID: 'client' })
  const browser = browserWith(real.appSession)
  expect((await browser.xhr(`${url}/session`)).json().userId).toBe('sub-alice')
  const { credentials, email } = await app.oauth2.user('sub-alice')
  expect([credentials?.accessToken, email]).toEqual(['access-canary', 'alice@example.test'])
})

/** What JWE leaves to whoever reads: nothing may be taken from a text under another key, or with another algorithm. */
function forged(): string {
  const header = Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', exp: 4e9 })).toString('base64url')
  const cipher = createCipheriv('aes-256-gcm', randomBytes(32), randomBytes(12))
  const text = Buffer.concat([cipher.update('{}'), cipher.final()]).toString('base64url')
  return `${header}..${randomBytes(12).toString('base64url')}.${text}.${cipher.getAuthTag().toString('base64url')}`
}

test('nobody is signed in by a cookie that is over, that is not theirs, or that holds no access token', async () => {
  const { issue, start, stored } = await world()
  const { url } = await start('from-app-session')
  const id_token = idToken({ sub: 'sub-alice' })
  const tokens = { id_token, ...(await issue('alice')) }
  const cookies = [
    await appSession(tokens, { expiresIn: -1 }),
    await appSession(tokens, { secret: 'another secret' }),
    await appSession({ id_token }),
    await appSession({ access_token: tokens.access_token }),
    forged(),
    'x',
  ]
  for (const value of cookies) {
    const browser = browserWith(value)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    expect(left(browser)).toEqual([])
  }
  expect((await stored()).size).toBe(0)
})

test('whoever is new signs in with a new session id', async () => {
  const { start } = await world()
  const { url } = await start('from-app-session')
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ sub: 'sub-alice' })
  expect(id()).not.toBe(before)
})
