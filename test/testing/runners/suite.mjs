// What somebody who uses this package may write, with what every runner has.
import assert from 'node:assert/strict'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { requireOAuth } from 'fastify-oauth2client'
import { memoryStore } from 'fastify-oauth2client/storage/memory'
import { credentialStoreContract, fakeClock, signIn, startAuthorizationServer } from 'fastify-oauth2client/testing'

export function suite({ describe, test }) {
  test('an app: signed in, an hour later, a fault', async () => {
    const clock = fakeClock()
    const server = await startAuthorizationServer({
      clock: clock.now,
      scopes: { 'files.read': {} },
      api: { '/files': { scope: 'files.read', body: ['a.txt'] } },
    })
    const app = Fastify()
    try {
      await app.register(cookie)
      await app.register(session, { secret: 'a secret of at least thirty-two characters', cookie: { secure: 'auto' } })
      await app.register(oauth2Client, {
        provider: { issuer: server.issuer },
        clientId: server.clientId,
        clientSecret: server.clientSecret,
        storage: memoryStore(),
        clock: clock.now,
      })
      app.get('/files', { onRequest: requireOAuth('files.read') }, async (request, reply) => {
        const response = await request.oauth2.fetch(`${server.issuer}/files`)
        return response.ok ? response.json() : reply.code(502).send('Come back later.')
      })
      const grant = { user: 'alice', scopes: 'openid email files.read' }
      const { headers } = await signIn(app, { ...grant, ...(await server.issueTokens(grant)) })
      // Under Jest there is no app.inject.
      const url = await app.listen({ host: '127.0.0.1', port: 0 })
      const ask = async () => {
        const response = await fetch(`${url}/files`, { headers })
        return `${response.status} ${await response.text()}`
      }
      assert.equal(await ask(), '200 ["a.txt"]')
      clock.advance(3_600_000)
      assert.equal(await ask(), '200 ["a.txt"]')
      assert.equal(server.tokenRequests.length, 1)
      server.faults.api = ['500']
      assert.equal(await ask(), '502 Come back later.')
      assert.equal(await ask(), '200 ["a.txt"]')
    } finally {
      await app.close()
      await server.close()
    }
  })

  credentialStoreContract({
    test,
    describe,
    create: async () => {
      const clock = fakeClock()
      const map = new Map()
      const store = () => memoryStore({ map, clock: clock.now })
      return { store: store(), second: store(), advance: clock.advance, cleanup: async () => {} }
    },
  })
}
