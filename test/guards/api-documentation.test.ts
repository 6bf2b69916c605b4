import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, {
  callbackRouteOptions,
  handleCallback,
  type OAuth2ClientOptions,
  oauthAware,
  requireOAuth,
} from '../../src/index.js'
import { captureLogs } from '../helpers/log-capture.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const DISCOVERED = { issuer: 'https://login.example.com' }
const WRITTEN = {
  issuer: 'https://auth.example.org',
  authorization_endpoint: 'https://auth.example.org/authorize',
  token_endpoint: 'https://auth.example.org/token',
}

interface Operation {
  readonly security?: readonly Record<string, readonly string[]>[]
  readonly responses: Record<string, { readonly description: string }>
}
interface Document {
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly securitySchemes?: Record<string, unknown>; readonly schemas: object }
  readonly securityDefinitions?: Record<string, unknown>
}

interface Described {
  readonly app: FastifyInstance
  readonly document: Document
  readonly of: (path: string, method?: string) => Operation
  readonly logs: string
}

/** @param order what is registered first */
async function describeApp(
  routes: (app: FastifyInstance) => void,
  client: Partial<OAuth2ClientOptions> = {},
  options: object = { openapi: {} },
  order: 'swagger' | 'client' = 'swagger',
): Promise<Described> {
  const logs = captureLogs()
  const app = Fastify({ logger: logs.logger })
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  if (order === 'swagger') await app.register(swagger, options)
  await app.register(oauth2Client, {
    provider: DISCOVERED,
    clientId: 'web',
    clientSecret: 'its secret',
    storage: 'session',
    scopes: ['openid'],
    ...client,
  })
  if (order === 'client') await app.register(swagger, options)
  routes(app)
  await app.ready()
  const document = JSON.parse(JSON.stringify(app.swagger())) as Document
  return { app, document, logs: logs.text(), of: (path, method = 'get') => document.paths[path]?.[method] as Operation }
}

test('every way to guard a route shows the client and the scopes, and nothing else does', async () => {
  const { of, document } = await describeApp((app) => {
    app.get('/hook', { onRequest: requireOAuth('files.read') }, async () => '')
    app.post('/hooks', { preHandler: [async () => {}, requireOAuth(['files.read', 'files.write'])] }, async () => '')
    app.get('/validation', { preValidation: requireOAuth() }, async () => '')
    app.get('/member', { onRequest: app.oauth2.requireOAuth('calendar.read') }, async () => '')
    app.get('/config', { config: { oauth2: { scopes: 'mail.read' } } }, async () => '')
    app.get('/true', { config: { oauth2: true } }, async () => '')
    app.get('/aware', { onRequest: oauthAware() }, async () => '')
    app.get('/aware-config', { config: { oauth2: 'aware' } }, async () => '')
    app.get('/open', async () => '')
    app.register(async (child) => child.get('/deep', { onRequest: requireOAuth('deep') }, async () => ''), {
      prefix: '/child',
    })
  })
  expect(of('/hook').security).toEqual([{ oauth2: ['openid', 'files.read'] }])
  expect(of('/hooks', 'post').security).toEqual([{ oauth2: ['openid', 'files.read', 'files.write'] }])
  expect(of('/validation').security).toEqual([{ oauth2: ['openid'] }])
  expect(of('/member').security).toEqual([{ oauth2: ['openid', 'calendar.read'] }])
  expect(of('/config').security).toEqual([{ oauth2: ['openid', 'mail.read'] }])
  expect(of('/true').security).toEqual([{ oauth2: ['openid'] }])
  expect(of('/child/deep').security).toEqual([{ oauth2: ['openid', 'deep'] }])
  for (const path of ['/aware', '/aware-config', '/open']) {
    expect(of(path).security, path).toBeUndefined()
    expect(Object.keys(of(path).responses), path).toEqual(['200'])
  }
  expect(Object.keys(of('/hook').responses)).toEqual(['200', '401', '403'])
  // Our own routes are for browsers.
  expect(Object.keys(document.paths).filter((path) => path.startsWith('/oauth2'))).toEqual([])
})

describe('the scheme', () => {
  const guarded = (app: FastifyInstance) =>
    void app.get('/x', { onRequest: requireOAuth('files.read') }, async () => '')

  test('of a provider that is discovered', async () => {
    const { document } = await describeApp(guarded)
    expect(document.components.securitySchemes).toEqual({
      oauth2: {
        type: 'openIdConnect',
        openIdConnectUrl: 'https://login.example.com/.well-known/openid-configuration',
        description: expect.stringContaining('/oauth2authorize'),
      },
    })
  })

  test('of one whose endpoints are written down', async () => {
    const { document } = await describeApp(guarded, { provider: WRITTEN, scopes: ['profile'] })
    expect(document.components.securitySchemes?.oauth2).toMatchObject({
      type: 'oauth2',
      flows: {
        authorizationCode: {
          authorizationUrl: WRITTEN.authorization_endpoint,
          tokenUrl: WRITTEN.token_endpoint,
          scopes: { profile: '', 'files.read': '' },
        },
      },
    })
  })

  test('in Swagger 2', async () => {
    const { document, of } = await describeApp(guarded, { provider: WRITTEN, scopes: ['profile'] }, { swagger: {} })
    expect(document.securityDefinitions?.oauth2).toMatchObject({
      type: 'oauth2',
      flow: 'accessCode',
      authorizationUrl: WRITTEN.authorization_endpoint,
      tokenUrl: WRITTEN.token_endpoint,
      scopes: { profile: '', 'files.read': '' },
    })
    expect(of('/x').security).toEqual([{ oauth2: ['profile', 'files.read'] }])
  })

  test('beside those of the app, of which one of that name wins', async () => {
    const schemes = { apiKey: { type: 'apiKey', name: 'x-key', in: 'header' } }
    const own = { openapi: { components: { securitySchemes: schemes } } }
    const { document } = await describeApp(guarded, {}, own)
    expect(Object.keys(document.components.securitySchemes ?? {}).sort()).toEqual(['apiKey', 'oauth2'])
    expect(schemes).toEqual({ apiKey: { type: 'apiKey', name: 'x-key', in: 'header' } })
    const oauth2 = { type: 'http', scheme: 'bearer' }
    const named = await describeApp(guarded, {}, { openapi: { components: { securitySchemes: { oauth2 } } } })
    expect(named.document.components.securitySchemes?.oauth2).toEqual(oauth2)
  })

  test('in YAML, and with a transform of the app', async () => {
    const { app } = await describeApp(
      guarded,
      {},
      {
        openapi: {},
        transform: ({ schema, url }: { schema: object; url: string }) => ({
          schema: { ...schema, summary: 'transformed' },
          url,
        }),
      },
    )
    const yaml = app.swagger({ yaml: true })
    expect(yaml).toContain('openIdConnectUrl')
    expect(yaml).toContain('summary: transformed')
  })

  test('with a callback route of the app’s own', async () => {
    const { document, logs } = await describeApp(
      (app) => {
        app.get('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
        guarded(app)
      },
      { routes: false },
    )
    expect(document.components.securitySchemes).toHaveProperty('oauth2')
    expect(logs).not.toContain('API documentation')
  })

  test('is missed, and that is said, when swagger comes later', async () => {
    const { of, logs } = await describeApp(guarded, {}, { openapi: {} }, 'client')
    expect(of('/x').security).toBeUndefined()
    expect(logs).toContain('Register @fastify/swagger before this plugin')
  })
})

test('what a route says of itself stays: security, answers, hiding', async () => {
  const securitySchemes = { apiKey: { type: 'apiKey', name: 'x-key', in: 'header' } }
  const options = { openapi: { components: { securitySchemes } } }
  const routes = (app: FastifyInstance) => {
    const onRequest = requireOAuth('files.read')
    app.get('/own', { onRequest, schema: { security: [{ apiKey: [] }] } }, async () => '')
    app.get('/none', { onRequest, schema: { security: [] } }, async () => '')
    const response = { 201: { description: 'made' }, 403: { description: 'Ours' } }
    app.post('/answers', { onRequest, schema: { response, summary: 'Make' } }, async () => '')
    app.get('/hidden', { onRequest, schema: { hide: true } }, async () => '')
  }
  const { of, document } = await describeApp(routes, {}, options)
  expect(of('/own').security).toEqual([{ apiKey: [] }])
  expect(of('/none').security).toEqual([])
  expect(of('/answers', 'post')).toMatchObject({
    summary: 'Make',
    responses: { 201: { description: 'made' }, 401: {}, 403: { description: 'Ours' } },
  })
  expect(Object.keys(of('/answers', 'post').responses)).toEqual(['201', '401', '403'])
  expect(document.paths).not.toHaveProperty('/hidden')
})

test('two clients: both have to be satisfied', async () => {
  const { of, document } = await describeApp((app) => {
    app.register(async (inner) => {
      await inner.register(oauth2Client, {
        name: 'crm',
        provider: WRITTEN,
        clientId: 'crm',
        clientSecret: 'its secret',
        storage: 'session',
      })
      const onRequest = [requireOAuth('files.read'), requireOAuth('deals', { client: 'crm' })]
      inner.get('/both', { onRequest }, async () => '')
      inner.get('/crm', { config: { oauth2: { client: 'crm', scopes: 'deals' } } }, async () => '')
    })
  })
  expect(of('/both').security).toEqual([{ oauth2: ['openid', 'files.read'], crm: ['deals'] }])
  expect(of('/crm').security).toEqual([{ crm: ['deals'] }])
  expect(Object.keys(document.components.securitySchemes ?? {}).sort()).toEqual(['crm', 'oauth2'])
})

test('what is shown changes nothing of what is answered', async () => {
  const { app } = await describeApp((app) => {
    app.setNotFoundHandler((_request, reply) => reply.code(404).send())
    app.get('/x', { onRequest: requireOAuth('files.read') }, async () => '')
    app.get('/teapot', { config: { oauth2: 'aware' } }, async (_request, reply) => reply.code(401).send({ mine: [1] }))
  })
  const answer = await app.inject('/x')
  expect(answer.json()).toMatchObject({ statusCode: 401, authorizeUrl: expect.stringContaining('ticket=') })
  expect((await app.inject('/teapot')).json()).toEqual({ mine: [1] })
})

test('schemas of another language are left to whoever speaks it', async () => {
  const { of } = await describeApp((app) => {
    app.setSerializerCompiler(() => (data) => JSON.stringify(data))
    app.get('/x', { onRequest: requireOAuth('files.read') }, async () => '')
  })
  expect(of('/x').security).toEqual([{ oauth2: ['openid', 'files.read'] }])
  expect(Object.keys(of('/x').responses)).toEqual(['200'])
})

test('without swagger no route is touched', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  await app.register(oauth2Client, { provider: DISCOVERED, clientId: 'w', clientSecret: 's', storage: 'session' })
  const seen: unknown[] = []
  app.addHook('onRoute', (route) => void seen.push(route))
  app.get('/x', { onRequest: requireOAuth() }, async () => '')
  await app.ready()
  for (const route of seen) expect(route).not.toHaveProperty('schema.security')
})
