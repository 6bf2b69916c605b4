/** Guides for people who come from Node name what their packages declare, and what there is here. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { namesOf } from './our-names.js'
import { wroteRowsOf } from './tables.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** From test/fixtures/node/names.mjs, which reads published packages. */
const published: Record<string, { version: string; names: string[] }> = JSON.parse(
  readFileSync(join(root, 'test/fixtures/node/names.json'), 'utf8'),
)

const GUIDES: Record<string, readonly string[]> = {
  'migrating-from-fastify-oauth2.md': ['@fastify/oauth2'],
  'migrating-from-passport.md': ['@fastify/passport', 'passport-oauth2', 'passport-google-oauth20'],
  'migrating-from-express-openid-connect.md': ['express-openid-connect'],
  'migrating-from-authjs.md': ['@auth/core', '@auth/express'],
}

/** What a request is called, and the client of simple-oauth2 that @fastify/oauth2 hands on, and does not declare. */
const NOT_DECLARED = new Set(['request', 'oauth2'])
/** Names of Fastify and of session plugins that a row needs to say what is written. */
const FASTIFYS = new Set(['addHook', 'secret'])

const PLACES = [
  ...['fastify-oauth2client', '/providers', '/flows', '/credentials'],
  ...['RequestOAuth2', 'UserOAuth2', 'RequestCredentials', 'OAuth2Client', 'OAuth2ClientOptions', 'Credentials'],
  ...['ProviderConfig', 'AuthorizeUrlOptions', 'SignInRequirements', 'RegistrationOptions', 'ProfileOptions'],
]

describe.each(Object.entries(GUIDES))('%s', (name, packages) => {
  const guide = readFileSync(join(root, 'docs', name), 'utf8')
  const rows = wroteRowsOf(guide)

  test('has a table', () => {
    expect(rows.length).toBeGreaterThan(20)
    expect(rows.filter(({ text }) => text.replace('|', '').trim() === '')).toEqual([])
  })

  test('names of theirs are declared by the published package', () => {
    const declared = new Set(packages.flatMap((it) => published[it]?.names ?? []))
    const said = rows.flatMap(({ theirs }) => theirs).filter((it) => !NOT_DECLARED.has(it))
    expect(said.length).toBeGreaterThan(30)
    expect(said.filter((it) => !declared.has(it))).toEqual([])
  })

  test('names of ours exist', async () => {
    const there = new Set(FASTIFYS)
    for (const place of PLACES) for (const it of await namesOf(root, place)) there.add(it)
    const said = rows.flatMap(({ ours }) => ours)
    expect(said.length).toBeGreaterThan(20)
    expect(said.filter((it) => !there.has(it))).toEqual([])
  })

  test('says which version was compared', () => {
    for (const it of packages) expect(guide).toContain(published[it]?.version.split('.').slice(0, 2).join('.'))
  })

  test('code of theirs is shown and not compiled, code of ours is compiled under a name of its own', () => {
    const fences = [...guide.matchAll(/^```(\w+)\n(.*)$/gm)].map(([, language, first]) => ({ language, first }))
    expect(new Set(fences.map(({ language }) => language))).toEqual(new Set(['js', 'ts']))
    const ours = fences.filter(({ language }) => language === 'ts').map(({ first }) => first)
    for (const first of ours) expect(first).toMatch(/^\/\/ (from|import)-[\w-]+\.ts$/)
    expect(new Set(ours).size).toBe(ours.length)
  })
})
