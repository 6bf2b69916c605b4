import { expect, it } from 'vitest'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { createHash } from 'node:crypto'
it('quick', async () => {
  const s = await startAuthorizationServer({ scopes: { 'a.read': {}, 'https://api.example.test/b': {} }, autoApprove: { user: 'alice', decline: ['a.read'] }, api: {'/b': {scope:'https://api.example.test/b', body: (u) => u}} })
  const verifier = 'x'.repeat(50)
  const u = new URL(s.issuer + '/auth')
  u.search = new URLSearchParams({ client_id: s.clientId, response_type: 'code', redirect_uri: 'http://localhost:3000/cb?x=1', scope: 'openid email profile a.read https://api.example.test/b nope', state: 's', access_type: 'offline', code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256', prompt: 'consent select_account' }).toString()
  const r = await fetch(u, { redirect: 'manual' })
  console.log(r.status, Object.fromEntries(r.headers), await r.text())
  const code = new URL(r.headers.get('location')!).searchParams.get('code')!
  const t = await fetch(s.issuer + '/token', { method: 'POST', headers: { authorization: 'Basic ' + btoa(s.clientId + ':' + s.clientSecret) }, body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: 'http://localhost:3000/cb?x=1', code_verifier: verifier }) })
  const body = await t.json() as any
  console.log(t.status, body, s.tokenRequests)
  console.log(JSON.parse(atob(body.id_token.split('.')[1])))
  const a = await fetch(s.issuer + '/b', { headers: { authorization: 'Bearer ' + body.access_token } })
  console.log(a.status, await a.text())
  console.log(await (await fetch(s.issuer + '/.well-known/openid-configuration')).json())
  await s.close()
  expect(1).toBe(1)
})
