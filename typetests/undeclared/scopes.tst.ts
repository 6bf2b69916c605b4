import Fastify from 'fastify'
import oauth2Client, {
  type ClientName,
  type OAuth2Client,
  type OAuth2ClientOptions,
  oauthAware,
  type RequestOAuth2,
  requireOAuth,
} from 'fastify-oauth2client'
import { describe, expect, test } from 'tstyche'

const app = Fastify()

describe('an app that declares nothing', () => {
  test('asks for any scope, as a text or as a list', () => {
    expect(requireOAuth).type.toBeCallableWith()
    expect(requireOAuth).type.toBeCallableWith('files.read')
    expect(requireOAuth).type.toBeCallableWith('files.read calendar.read')
    expect(requireOAuth).type.toBeCallableWith(['files.read', 'calendar.read'] as const)
    expect(requireOAuth).type.toBeCallableWith([] as string[], { maxAge: 300, acrValues: ['strong'] })
    expect(requireOAuth).type.not.toBeCallableWith(42)
    expect(requireOAuth).type.not.toBeCallableWith('a', { unknown: true })
  })

  test('has clients of any name', () => {
    expect<ClientName>().type.toBe<string>()
    expect(requireOAuth).type.toBeCallableWith('deals.read', { client: 'crm' })
    expect(oauthAware).type.toBeCallableWith({ client: 'crm' })
    expect(oauthAware).type.not.toBeCallableWith({ resume: true })
    expect(app.register).type.toBeCallableWith(oauth2Client, { name: 'crm', scopes: 'a b', optionalScopes: ['c'] })
  })

  test('passes variables that may not be set, and no options that are unknown', () => {
    const clientSecret = process.env.CLIENT_SECRET
    expect(app.register).type.toBeCallableWith(oauth2Client, { clientId: 'web', clientSecret })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { clientIdd: 'web' })
    expect(app.register).type.not.toBeCallableWith(oauth2Client, { scopes: 42 })
    const options: OAuth2ClientOptions = { name: 'crm', scopes: ['deals.read'] }
    expect(app.register).type.toBeCallableWith(oauth2Client, options)
    expect(app.register).type.toBeCallableWith(oauth2Client, () => options)
  })

  test('declares guards in the config of routes', () => {
    app.get('/1', { config: { oauth2: true } }, async () => 'ok')
    app.get('/2', { config: { oauth2: 'aware' } }, async () => 'ok')
    app.get('/3', { config: { oauth2: { scopes: 'a b', client: 'crm', maxAge: 300 } } }, async () => 'ok')
    // @ts-expect-error is not assignable
    app.get('/4', { config: { oauth2: 'awares' } }, async () => 'ok')
    // @ts-expect-error is not assignable
    app.get('/5', { config: { oauth2: { scopes: 42 } } }, async () => 'ok')
  })

  test('knows the client on the instance and the credentials on the request', () => {
    expect(app.oauth2).type.toBe<OAuth2Client>()
    app.get('/', { onRequest: requireOAuth('a') }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
      expect(request.oauth2.hasCredentials).type.toBeCallableWith('a b')
      expect(request.oauth2.scopes).type.toBe<readonly string[]>()
      expect(request.oauth2.email).type.toBe<string | null>()
      expect((await request.oauth2.getAccessToken()).token).type.toBe<string>()
      expect(request.oauth2.fetch('https://api.example.com')).type.toBe<Promise<Response>>()
      expect(request.oauth2.authorizeUrl).type.toBeCallableWith('/', { scopes: ['a'], account: 'new' })
    })
    expect(app).type.not.toHaveProperty('crm')
  })

  test('nothing internal is public', () => {
    expect<RequestOAuth2>().type.not.toHaveProperty('client')
    expect<RequestOAuth2>().type.not.toHaveProperty('onFailure')
    expect<RequestOAuth2>().type.not.toHaveProperty('ensureUsable')
  })
})
