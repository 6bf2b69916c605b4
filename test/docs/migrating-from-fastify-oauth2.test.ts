/** docs/migrating-from-fastify-oauth2.md, as it is printed: people who were signed in before stay so, and so do their tokens. */
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { startPage } from './page.js'

const USERS = 'create table users (id integer primary key, google_id text unique, token text)'
const world = () => startPage('migrating-from-fastify-oauth2.md', [USERS])

/** What their `getAccessTokenFromAuthorizationCodeFlow` gave as `token`, an hour and more ago. */
const old = (tokens: object) => ({ ...tokens, expires_in: 3_599, expires_at: new Date(Date.now() - 60_000) })

test('the smallest app signs in, at the old paths', async () => {
  const { google, start } = await world()
  const { url } = await start('from-fastify-oauth2')
  expect((await new Browser().goto(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect(google.authorizationRequests.at(-1)?.redirect_uri).toBe(`${url}/login/google/callback`)
  expect((await new Browser().step(`${url}/login/google`)).status).toBe(302)
})

test('tokens of a table are imported, once, and used without a new sign-in', async () => {
  const { google, db, issue, script, start, stored, tokenRequests } = await world()
  for (const [id, name] of ['alice', 'bob'].entries()) {
    const token = JSON.stringify(old(await issue(name)))
    await sql`insert into users values (${id}, ${`sub-${name}`}, ${token})`.execute(db)
  }
  await sql`insert into users values (3, null, null), (4, 'sub-dave', '{"access_token":null}')`.execute(db)
  const complaint = [expect.stringMatching(/^4 has to sign in: .*access_token/)]
  expect(await script('import-from-fastify-oauth2')).toEqual(complaint)
  const first = await stored()
  expect([...first.keys()]).toEqual(['user/oauth2/0', 'user/oauth2/1'])
  expect(await script('import-from-fastify-oauth2')).toEqual(complaint)
  expect(await stored()).toEqual(first)
  expect(tokenRequests()).toEqual([])

  const { app, url } = await start('from-fastify-oauth2-users', { userId: '0' })
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  expect((await browser.xhr(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(google.authorizationRequests).toEqual([])
  expect((await app.oauth2.user('1')).userId).toBe('sub-bob')
})

test('tokens of a session are moved by its next request, and are gone from there', async () => {
  const { google, issue, start, stored } = await world()
  const { url } = await start('from-fastify-oauth2-users', { userId: '1', token: old(await issue('alice')) })
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  expect((await browser.xhr(`${url}/session`)).json().token).toBeUndefined()
  expect([...(await stored()).keys()]).toEqual(['user/oauth2/1'])
  expect((await browser.xhr(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect(google.authorizationRequests).toEqual([])
})

test('whoever is new signs in with a new session id, and whom the app does not know stays out', async () => {
  const { google, db, start, stored } = await world()
  await sql`insert into users values (1, 'sub-alice', null)`.execute(db)
  const { url } = await start('from-fastify-oauth2-users', { cart: 'book' })
  const browser = new Browser()
  await browser.goto(`${url}/before`)
  const id = () => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  const before = id()
  expect((await browser.goto(`${url}/files`)).json()).toEqual({ files: ['of alice'] })
  expect((await browser.xhr(`${url}/session`)).json().userId).toBe('1')
  expect(id()).not.toBe(before)
  google.autoApprove = { user: 'mallory' }
  const stranger = await new Browser().goto(`${url}/files`)
  expect([stranger.status, stranger.body]).toEqual([403, expect.stringContaining('Nobody we know')])
  expect([...(await stored()).keys()]).toEqual(['user/oauth2/1'])
})
