/** Decorations that an app wrote itself, with and without scopes: no declaration of ours is needed for them. */
import Fastify from 'fastify'
import { type OAuth2Client, type RequestOAuth2, requireOAuth } from 'fastify-oauth2client'
import { expect, test } from 'tstyche'

declare module 'fastify' {
  interface FastifyInstance {
    github: OAuth2Client
    crm: OAuth2Client<'deals.read'>
  }
  interface FastifyRequest {
    github: RequestOAuth2
    crm: RequestOAuth2<'deals.read'>
  }
}

test('clients that are declared by hand', () => {
  const app = Fastify()
  app.get('/', { onRequest: requireOAuth('gist', { client: 'github' }) }, async ({ github, crm }) => {
    expect(github.hasCredentials).type.toBeCallableWith('gist repo')
    expect(crm.hasCredentials).type.toBeCallableWith(['deals.read'])
    expect(crm.hasCredentials).type.not.toBeCallableWith('deals.raed')
  })
  expect(app.github.requireOAuth).type.toBeCallableWith('gist')
  expect(app.crm.requireOAuth).type.not.toBeCallableWith('gist')
})
