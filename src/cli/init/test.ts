/** `test/app.test`: what everybody who changes the app wants to know first. */
import { type Choices, imported, onlyIn, quoted } from './choices.js'

export function testFile(choices: Choices): string {
  const { page } = choices.provider
  const type = onlyIn(choices, ': TestContext')
  return `${imported('assert', 'node:assert/strict')}
${imported(choices.typescript ? '{ type TestContext, test }' : '{ test }', 'node:test')}
${imported('{ signIn }', 'fastify-oauth2client/testing')}
${imported('{ buildApp }', '../src/app.js')}
${imported('{ readSettings }', '../src/settings.js')}

const PERSON = { accept: 'text/html' }

/** The app over a provider of its own, which ends with the test. */
async function start(t${type}) {
  const app = await buildApp(await readSettings({ PORT: '0' }))
  t.after(() => app.close())
  return app
}

test('the first page is open to everybody', async (t) => {
  const app = await start(t)
  const page = await app.inject({ url: '/', headers: PERSON })
  assert.equal(page.statusCode, 200)
  assert.match(page.body, /Sign in/)
})

test('people are sent to sign in, programs are told', async (t) => {
  const app = await start(t)
  const person = await app.inject({ url: '/me', headers: PERSON })
  assert.equal(person.statusCode, 302)
  assert.match(String(person.headers.location), /\\/auth\\?/)
  const program = await app.inject({ url: '/me' })
  assert.equal(program.statusCode, 401)
  assert.equal(program.json().code, 'FST_OAUTH2_CREDENTIALS_REQUIRED')
})

test('whoever is signed in sees who they are, and can sign out', async (t) => {
  const app = await start(t)
  const { headers } = await signIn(app, { user: 'alice' })
  const me = await app.inject({ url: '/me', headers })
  assert.equal(me.json().email, 'alice@example.test')
  const page = await app.inject({ url: '/', headers: { ...PERSON, ...headers } })
  const _csrf = /name="_csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? ''
  const body = new URLSearchParams({ _csrf }).toString()
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  await app.inject({ method: 'POST', url: app.oauth2.logoutPath, headers: { ...headers, ...type }, body })
  assert.equal((await app.inject({ url: '/me', headers })).statusCode, 401)
})
${
  page === undefined
    ? ''
    : `
test('one more permission is asked for where it is needed', async (t) => {
  const app = await start(t)
  const { headers } = await signIn(app, { user: 'alice' })
  const person = await app.inject({ url: ${quoted(page.path)}, headers: { ...PERSON, ...headers } })
  const asked = new URL(String(person.headers.location)).searchParams.get('scope') ?? ''
  assert.ok(asked.split(' ').includes(${quoted(page.scope)}))
})
`
}`
}
