/** CommonJS, through `require` of a module, which Node has had since 20.19. */
import Fastify = require('fastify')
import oauth2Client = require('fastify-oauth2client')

import plugin, { requireOAuth } from 'fastify-oauth2client'
import { expect, test } from 'tstyche'

test('the plugin is the default export, written either way', () => {
  const app = Fastify()
  expect(app.register).type.toBeCallableWith(oauth2Client.default, { clientId: 'web' })
  expect(app.register).type.toBeCallableWith(plugin, { clientId: 'web' })
  expect(app.register).type.toBeCallableWith(oauth2Client.fastifyOAuth2Client, { clientId: 'web' })
})

test('a guard is known to routes', () => {
  Fastify().get('/', { onRequest: oauth2Client.requireOAuth('a') }, async (request) => {
    expect(request.oauth2).type.toBe<oauth2Client.RequestOAuth2>()
  })
  expect(requireOAuth).type.toBe<typeof oauth2Client.requireOAuth>()
})
