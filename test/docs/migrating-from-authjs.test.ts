/** docs/migrating-from-authjs.md, as it is printed: tables as its Kysely adapter has them on SQLite. */
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { startPage } from './page.js'

const SCHEMA = [
  'create table "User" (id text primary key, name text, email text unique, "emailVerified" text, image text)',
  `create table "Account" ("userId" text not null references "User"(id), type text not null, provider text not null,
    "providerAccountId" text not null, refresh_token text, access_token text, expires_at integer, token_type text, scope text,
    id_token text, session_state text, primary key (provider, "providerAccountId"))`,
  'create table "Session" ("sessionToken" text primary key, "userId" text not null references "User"(id), expires text not null)',
]
const COOKIE = 'authjs.session-token'
const DAY = 86_400_000

async function world() {
  const page = await startPage('migrating-from-authjs.md', SCHEMA)
  const { db, google } = page
  const env = {
    AUTH_SECRET: 's'.repeat(40),
    AUTH_GOOGLE_ID: google.clientId,
    AUTH_GOOGLE_SECRET: google.clientSecret,
  }
  return {
    ...page,
    start: (name: string) => page.start(name, {}, { env }),
    script: () => page.script('import-from-authjs', { env }),
    /** What a first sign-in leaves. */
    async signedIn(name: string, tokens: Readonly<Record<string, unknown>>, provider = 'google') {
      const { access_token, refresh_token, expires_at = 1_700_000_000, scope } = tokens
      await sql`insert or ignore into "User" (id, email) values (${`u-${name}`}, ${`${name}@example.test`})`.execute(db)
      await sql`insert into "Account" ("userId", type, provider, "providerAccountId", access_token, refresh_token, expires_at, token_type, scope)
        values (${`u-${name}`}, 'oidc', ${provider}, ${`sub-${name}`}, ${access_token ?? null}, ${refresh_token ?? null}, ${expires_at}, 'bearer', ${scope ?? null})`.execute(
        db,
      )
    },
    async session(name: string, expires = Date.now() + DAY): Promise<Browser> {
      await sql`insert or ignore into "Session" values (${`token-of-${name}`}, ${`u-${name}`}, ${new Date(expires).toISOString()})`.execute(
        db,
      )
      const browser = new Browser()
      browser.setCookie('localhost', { name: COOKIE, value: `token-of-${name}` })
      return browser
    },
  }
}

const SCOPE = 'openid email profile https://www.googleapis.com/auth/drive.readonly'

test('the smallest app signs in, at the old paths', async () => {
  const { google, start } = await world()
  const { url } = await start('from-authjs')
  expect((await new Browser().goto(`${url}/profile`)).json()).toEqual({ hello: 'alice@example.test' })
  expect(google.authorizationRequests.at(-1)?.redirect_uri).toBe(`${url}/auth/callback/google`)
})

test('accounts are imported, once, and sessions go on with them', async () => {
  const { google, issue, script, session, signedIn, start, stored, tokenRequests } = await world()
  await signedIn('alice', { ...(await issue('alice')), scope: SCOPE })
  await signedIn('bob', { ...(await issue('bob')), scope: SCOPE, expires_at: Math.floor(Date.now() / 1_000) + 3_600 })
  await signedIn('carol', {})
  await signedIn('dave', { access_token: 'of-github' }, 'github')
  const complaint = [expect.stringMatching(/^u-carol has to sign in: .*access_token/)]
  expect(await script()).toEqual(complaint)
  const first = await stored()
  expect([...first.keys()]).toEqual(['user/oauth2/u-alice', 'user/oauth2/u-bob'])
  expect(await script()).toEqual(complaint)
  expect(await stored()).toEqual(first)

  const { app, url } = await start('from-authjs-users')
  const alice = await session('alice')
  expect((await alice.xhr(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect((await alice.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'u-alice' })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(alice.cookies().some(({ name }) => name === COOKIE)).toBe(false)
  // Of a page's requests that were sent at once, none may find itself signed out by another.
  const copies = await Promise.all(
    Array.from({ length: 3 }, async () => (await session('alice')).xhr(`${url}/profile`)),
  )
  expect(copies.map(({ status }) => status)).toEqual([200, 200, 200])
  // What has not expired is used as it is.
  expect((await (await session('bob')).xhr(`${url}/files`)).json()).toEqual({ files: ['of bob'] })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect((await app.oauth2.user('u-bob')).userId).toBe('sub-bob')
  expect(google.authorizationRequests).toEqual([])
})

test('the session of whoever comes with one of before is another than that of a moment ago', async () => {
  const { issue, script, session, signedIn, start } = await world()
  await signedIn('alice', { ...(await issue('alice')), scope: SCOPE })
  await script()
  const { url } = await start('from-authjs-users')
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  await session('alice')
  browser.setCookie('localhost', { name: COOKIE, value: 'token-of-alice' })
  expect((await browser.xhr(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect([typeof before, id() === before]).toEqual(['string', false])
})

test('a session that is over, or that nobody has, is none', async () => {
  const { session, signedIn, start } = await world()
  await signedIn('alice', {})
  const { url } = await start('from-authjs-users')
  const stranger = new Browser()
  stranger.setCookie('localhost', { name: COOKIE, value: "x' or 1=1 --" })
  for (const browser of [await session('alice', Date.now() - 1), stranger]) {
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    expect((await browser.xhr(`${url}/session`)).json().userId).toBeUndefined()
    expect(browser.cookies().some(({ name }) => name === COOKIE)).toBe(false)
  }
})

test('a sign-in finds the user of before, or makes one, with a new session id', async () => {
  const { google, db, signedIn, start } = await world()
  await signedIn('alice', {})
  const { url } = await start('from-authjs-users')
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  expect((await browser.goto(`${url}/profile`)).json()).toEqual({ user: 'u-alice', email: 'alice@example.test' })
  expect(id()).not.toBe(before)
  google.autoApprove = { user: 'erin' }
  const erin = (await new Browser().goto(`${url}/profile`)).json()
  expect(erin).toEqual({ user: expect.stringMatching(/^[\da-f-]{36}$/), email: 'erin@example.test' })
  expect((await new Browser().goto(`${url}/profile`)).json()).toEqual(erin)
  expect((await sql`select * from "Account" where "userId" = ${erin.user}`.execute(db)).rows).toHaveLength(1)
})
