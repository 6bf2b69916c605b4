import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import oauth2Client, {
  type ClientName,
  handleCallback,
  type OAuth2Client,
  type OAuth2ClientOptions,
  oauthAware,
  type RequestOAuth2,
  requireOAuth,
  type ScopeOf,
  type StandardScope,
} from 'fastify-oauth2client'
import { signIn } from 'fastify-oauth2client/testing'
import { describe, expect, test } from 'tstyche'

declare module 'fastify-oauth2client' {
  interface RegisteredClients {
    oauth2: 'files.read' | 'calendar.read'
    crm: 'deals.read' | 'deals.write'
  }
}
// Each part of an app may declare its own.
declare module 'fastify-oauth2client' {
  interface RegisteredClients {
    mail: string
  }
}

const app = Fastify()

describe('scopes', () => {
  test('of guards', () => {
    expect(requireOAuth).type.toBeCallableWith()
    expect(requireOAuth).type.toBeCallableWith('files.read')
    expect(requireOAuth).type.toBeCallableWith(['files.read', 'calendar.read'])
    expect(requireOAuth).type.toBeCallableWith([], { maxAge: 300 })
    expect(requireOAuth).type.not.toBeCallableWith('files.raed')
    expect(requireOAuth).type.not.toBeCallableWith(['files.read', 'calendar.raed'])
    expect(requireOAuth).type.not.toBeCallableWith('files.read calendar.read')
  })

  test('of another client', () => {
    expect(requireOAuth).type.toBeCallableWith('deals.read', { client: 'crm' })
    expect(requireOAuth).type.toBeCallableWith(undefined, { client: 'crm' })
    expect(requireOAuth).type.toBeCallableWith('a b c', { client: 'mail' })
    expect(requireOAuth).type.not.toBeCallableWith('files.read', { client: 'crm' })
    expect(requireOAuth).type.not.toBeCallableWith('deals.read')
    expect(app.crm.requireOAuth).type.toBeCallableWith('deals.read')
    expect(app.crm.requireOAuth).type.not.toBeCallableWith('files.read')
    expect(app.oauth2.requireOAuth).type.not.toBeCallableWith('deals.read')
  })

  test('of OpenID Connect need no declaration', () => {
    expect(requireOAuth).type.toBeCallableWith(['openid', 'email', 'files.read'])
    expect(requireOAuth).type.toBeCallableWith('profile', { client: 'crm' })
    expect<ScopeOf<'oauth2'>>().type.toBe<'files.read' | 'calendar.read' | StandardScope>()
    expect<ScopeOf<'mail'>>().type.toBe<string>()
  })

  test('in the config of routes', () => {
    app.get('/1', { config: { oauth2: { scopes: ['files.read', 'openid'] } } }, async () => 'ok')
    app.get('/2', { config: { oauth2: { scopes: 'deals.read', client: 'crm', maxAge: 1 } } }, async () => 'ok')
    app.get('/3', { config: { oauth2: { client: 'mail', scopes: 'a b' } } }, async () => 'ok')
    app.get('/4', { config: { oauth2: true } }, async () => 'ok')
    // @ts-expect-error is not assignable
    app.get('/5', { config: { oauth2: { scopes: 'files.raed' } } }, async () => 'ok')
    // @ts-expect-error Object literal may only specify known properties
    app.get('/6', { config: { oauth2: { scopes: 'files.read', client: 'crm' } } }, async () => 'ok')
    // @ts-expect-error is not assignable
    app.get('/7', { config: { oauth2: { client: 'crn' } } }, async () => 'ok')
  })

  test('on the request and outside of one', () => {
    app.get('/', async ({ oauth2, crm }) => {
      expect(oauth2.hasCredentials).type.toBeCallableWith('files.read')
      expect(oauth2.hasCredentials).type.not.toBeCallableWith('files.raed')
      expect(oauth2.account('1').hasCredentials).type.not.toBeCallableWith('files.raed')
      expect(oauth2.authorizeUrl).type.toBeCallableWith('/', { scopes: ['files.read'] })
      expect(oauth2.authorizeUrl).type.not.toBeCallableWith('/', { scopes: ['files.raed'] })
      expect(crm.hasCredentials).type.toBeCallableWith(['deals.read'])
      expect(crm.hasCredentials).type.not.toBeCallableWith('files.read')
      // What was granted is for the provider to say.
      expect(oauth2.scopes).type.toBe<readonly string[]>()
      const user = await app.crm.user('alice')
      expect(user.hasCredentials).type.toBeCallableWith('deals.read')
      expect(user.hasCredentials).type.not.toBeCallableWith('files.read')
    })
  })

  test('of options', () => {
    expect(app.register).type.toBeCallableWith(oauth2Client, { scopes: ['openid', 'files.read'] })
    expect(app.register).type.toBeCallableWith(oauth2Client, { optionalScopes: 'calendar.read' })
    expect(app.register).type.toBeCallableWith(oauth2Client, { name: 'crm', scopes: ['deals.read'] })
    expect(app.register).type.toBeCallableWith(oauth2Client, { name: 'mail', scopes: 'a b' })
    expect(app.register).type.toBeCallableWith(oauth2Client, { name: 'crm', clientId: process.env.CRM_CLIENT_ID })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { scopes: ['files.raed'] })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { optionalScopes: ['files.raed'] })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { scopes: ['deals.read'] })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { name: 'crm', scopes: ['files.read'] })
    const options: OAuth2ClientOptions<'crm'> = { name: 'crm', scopes: ['deals.read'] }
    expect(app.register).type.toBeCallableWith(oauth2Client, { ...options, name: 'crm' as const })
  })

  test('of tests', () => {
    expect(signIn).type.toBeCallableWith(app, { scopes: 'files.read' })
    expect(signIn).type.toBeCallableWith(app, { scopes: 'deals.read', client: 'crm' })
    expect(signIn).type.not.toBeCallableWith(app, { scopes: 'files.raed' })
    expect(signIn).type.not.toBeCallableWith(app, { client: 'crn' })
  })
})

describe('clients', () => {
  test('have their names wherever one is asked for', () => {
    expect<ClientName>().type.toBe<'oauth2' | 'crm' | 'mail'>()
    expect(requireOAuth).type.toBeCallableWith([], { client: 'oauth2' })
    expect(requireOAuth).type.not.toBeCallableWith([], { client: 'crn' })
    expect(oauthAware).type.toBeCallableWith({ client: 'crm' })
    expect(oauthAware).type.not.toBeCallableWith({ client: 'crn' })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { name: 'crn' })
    app.get('/cb', (request, reply) => {
      expect(handleCallback).type.toBeCallableWith(request, reply, { client: 'crm' })
      expect(handleCallback).type.not.toBeCallableWith(request, reply, { client: 'crn' })
    })
  })

  test('are on the instance and on the request', () => {
    type Crm = 'deals.read' | 'deals.write' | StandardScope
    expect<FastifyInstance['crm']>().type.toBe<OAuth2Client<Crm>>()
    expect<FastifyRequest['crm']>().type.toBe<RequestOAuth2<Crm>>()
    expect<FastifyInstance['mail']>().type.toBe<OAuth2Client>()
    expect<FastifyRequest['mail']>().type.toBe<RequestOAuth2>()
    expect<FastifyInstance>().type.not.toHaveProperty('crn')
    const http2 = Fastify({ http2: true })
    http2.get('/', async ({ crm }) => {
      expect(crm).type.toBe<RequestOAuth2<Crm>>()
    })
  })

  test('fit where any client will do', () => {
    expect<RequestOAuth2<'deals.read'>>().type.toBeAssignableTo<RequestOAuth2>()
    expect<OAuth2Client<'deals.read'>>().type.toBeAssignableTo<OAuth2Client>()
  })
})
