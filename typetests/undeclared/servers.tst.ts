/** Guards and the plugin on every kind of server that Fastify has types for. */
import { readFileSync } from 'node:fs'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyPluginAsync, type RouteShorthandOptions } from 'fastify'
import oauth2Client, {
  deleteUser,
  handleCallback,
  oauthAware,
  type RequestOAuth2,
  requireOAuth,
} from 'fastify-oauth2client'
import { signIn } from 'fastify-oauth2client/testing'
import { describe, expect, test } from 'tstyche'
import { Type } from 'typebox'

const guard = requireOAuth('files.read')

describe('servers', () => {
  test('HTTP/1', () => {
    const app = Fastify()
    app.register(oauth2Client, { clientId: 'web' })
    app.addHook('onRequest', guard)
    app.get('/', { onRequest: guard }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
    app.get('/cb', (request, reply) => handleCallback(request, reply))
    expect(deleteUser).type.toBeCallableWith(app, 'alice')
    expect(signIn).type.toBeCallableWith(app)
  })

  test('HTTPS', () => {
    const app = Fastify({ https: { key: readFileSync('key.pem') } })
    app.register(oauth2Client, { clientId: 'web' })
    app.get('/', { preHandler: guard }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
    app.get('/cb', (request, reply) => handleCallback(request, reply))
    expect(deleteUser).type.toBeCallableWith(app, 'alice')
    expect(signIn).type.toBeCallableWith(app)
  })

  test('HTTP/2', () => {
    const app = Fastify({ http2: true })
    app.register(oauth2Client, { clientId: 'web' })
    app.addHook('preHandler', guard)
    app.get('/', { onRequest: guard }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
    app.route({ method: 'POST', url: '/', preValidation: [guard, oauthAware()], handler: async () => 'ok' })
    app.get('/cb', (request, reply) => handleCallback(request, reply))
    expect(deleteUser).type.toBeCallableWith(app, 'alice')
    expect(signIn).type.toBeCallableWith(app)
  })

  test('HTTP/2 with TLS', () => {
    const app = Fastify({ http2: true, https: { allowHTTP1: true } })
    app.register(oauth2Client, { clientId: 'web' })
    app.get('/', { onRequest: [guard] }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
  })

  test('a logger of the app', () => {
    interface Logger extends FastifyBaseLogger {
      audit(message: string): void
    }
    const app = Fastify({ loggerInstance: {} as Logger })
    app.register(oauth2Client, { clientId: 'web' })
    app.get('/', { onRequest: guard }, async (request) => {
      expect(request.oauth2).type.toBe<RequestOAuth2>()
      expect(request.log.audit).type.toBeCallableWith('read')
    })
    app.get('/cb', (request, reply) => handleCallback(request, reply))
    expect(deleteUser).type.toBeCallableWith(app, 'alice')
    expect(signIn).type.toBeCallableWith(app)
  })
})

describe('routes', () => {
  test('with a type provider', () => {
    const app = Fastify().setValidatorCompiler(TypeBoxValidatorCompiler).withTypeProvider<TypeBoxTypeProvider>()
    app.register(oauth2Client, { clientId: 'web' })
    const schema = { querystring: Type.Object({ page: Type.Number() }), body: Type.Object({ name: Type.String() }) }
    app.post('/files', { schema, onRequest: guard }, async (request) => {
      expect(request.query.page).type.toBe<number>()
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
    app.route({
      method: 'PUT',
      url: '/files',
      schema,
      preHandler: [guard, requireOAuth([], { maxAge: 300 })],
      handler: async (request) => {
        expect(request.body.name).type.toBe<string>()
        expect(request.oauth2).type.toBe<RequestOAuth2>()
      },
    })
    app.get('/cb', (request, reply) => handleCallback(request, reply))
  })

  test('with types of their own', () => {
    const app = Fastify()
    app.get<{ Params: { id: string } }>('/files/:id', { onRequest: [oauthAware(), guard] }, async (request) => {
      expect(request.params.id).type.toBe<string>()
      expect(request.oauth2).type.toBe<RequestOAuth2>()
    })
    app.route<{ Body: { name: string } }>({
      method: 'POST',
      url: '/files',
      config: { oauth2: { scopes: ['files.read'] } },
      preValidation: guard,
      handler: async ({ body, oauth2 }) => {
        expect(body.name).type.toBe<string>()
        expect(oauth2).type.toBe<RequestOAuth2>()
      },
    })
  })

  test('with options that are written elsewhere', () => {
    const options: RouteShorthandOptions = { onRequest: guard, config: { oauth2: true } }
    const plugin: FastifyPluginAsync = async (app) => {
      app.addHook('onRequest', app.oauth2.requireOAuth('files.read'))
      app.get('/', options, async ({ oauth2 }) => oauth2.email)
    }
    expect(Fastify().register).type.toBeCallableWith(plugin)
  })

  test('a guard of a guard: called by hand', () => {
    Fastify().get('/', async (request, reply) => {
      expect(guard(request, reply)).type.toBe<Promise<unknown>>()
    })
  })
})
