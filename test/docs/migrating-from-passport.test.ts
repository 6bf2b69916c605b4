/** docs/migrating-from-passport.md, as it is printed: sessions of passport go on, and so do its users' tokens. */
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { startPage } from './page.js'

const USERS = 'create table users (id integer primary key, google_id text unique, email text, refresh_token text)'
const world = () => startPage('migrating-from-passport.md', [USERS])

test('the smallest app signs in, at the old paths', async () => {
  const { google, start } = await world()
  const { url } = await start('from-passport')
  expect((await new Browser().goto(`${url}/profile`)).json()).toEqual({ hello: 'alice@example.test' })
  expect(google.authorizationRequests.at(-1)?.redirect_uri).toBe(`${url}/auth/google/callback`)
})

test.each([7, '7'])('a session that passport wrote %j into goes on, with imported tokens', async (passport) => {
  const { google, db, issue, script, start, stored, tokenRequests } = await world()
  const { refresh_token } = await issue('alice')
  await sql`insert into users values (7, 'sub-alice', 'alice@example.test', ${refresh_token})`.execute(db)
  await sql`insert into users values (8, 'sub-bob', null, ${(await issue('bob')).refresh_token}), (9, 'x', 'y', null)`.execute(
    db,
  )
  await script('import-from-passport')
  const first = await stored()
  expect([...first.keys()]).toEqual(['user/oauth2/7', 'user/oauth2/8'])
  await script('import-from-passport')
  expect(await stored()).toEqual(first)

  const { app, url } = await start('from-passport-users', { passport })
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  expect((await browser.xhr(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect((await browser.xhr(`${url}/profile`)).json()).toEqual({ user: '7', email: 'alice@example.test' })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(google.authorizationRequests).toEqual([])
  expect((await app.oauth2.user('8')).userId).toBe('sub-bob')
})

test('a sign-in later goes on with the imported refresh token, since it is the same identity', async () => {
  const { google, db, issue, script, start } = await world()
  const { refresh_token } = await issue('alice')
  await sql`insert into users values (7, 'sub-alice', null, ${refresh_token})`.execute(db)
  await script('import-from-passport')
  const { app, url } = await start('from-passport-users')
  const browser = new Browser()
  expect((await browser.goto(`${url}/profile`)).json()).toEqual({ user: '7', email: 'alice@example.test' })
  expect(google.authorizationRequests).toHaveLength(1)
  await google.expireAccessTokens()
  expect((await browser.goto(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect((await app.oauth2.user('7')).accounts()).toHaveLength(1)
  expect(google.tokenRequests.at(-1)?.params.refresh_token).toBe(refresh_token)
})

test('a sign-in makes the user, with a new session id, and in words that passport reads', async () => {
  const { db, start } = await world()
  const { url } = await start('from-passport-users')
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  expect((await browser.goto(`${url}/profile`)).json()).toEqual({ user: '1', email: 'alice@example.test' })
  expect(id()).not.toBe(before)
  expect((await browser.xhr(`${url}/session`)).json().passport).toBe(1)
  expect((await sql`select google_id, email from users`.execute(db)).rows).toEqual([
    { google_id: 'sub-alice', email: 'alice@example.test' },
  ])
})
