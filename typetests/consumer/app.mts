/** An app as most are: what compiles it has to check our types too, and has no package that it does not use. */
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { OAuth2ClientError, oauthAware, requireOAuth } from 'fastify-oauth2client'
import { CredentialManager } from 'fastify-oauth2client/credentials'
import { clientCredentialsGrant } from 'fastify-oauth2client/flows'
import { serviceAccountCredentials, toGoogleAuth } from 'fastify-oauth2client/google'
import { runDeviceFlow } from 'fastify-oauth2client/installed'
import { google } from 'fastify-oauth2client/providers'
import { encrypted } from 'fastify-oauth2client/storage/encrypted'
import { fileStore } from 'fastify-oauth2client/storage/file'
import { keyringStore } from 'fastify-oauth2client/storage/keyring'
import { memoryStore } from 'fastify-oauth2client/storage/memory'
import { createXsrfToken } from 'fastify-oauth2client/xsrf'

declare module 'fastify-oauth2client' {
  interface RegisteredClients {
    oauth2: 'files.read'
    crm: 'deals.read'
  }
}

export const others = [
  CredentialManager,
  clientCredentialsGrant,
  serviceAccountCredentials,
  toGoogleAuth,
  runDeviceFlow,
]
export const stores = [encrypted, fileStore, keyringStore, createXsrfToken]
const app = Fastify({ logger: true })
await app.register(cookie)
await app.register(session, { secret: 'a secret of at least thirty-two characters', rolling: false })
await app.register(oauth2Client, {
  provider: google(),
  clientId: process.env.CLIENT_ID,
  storage: memoryStore(),
  scopes: ['openid', 'files.read'],
})
app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }) => oauth2.email ?? 'stranger')
app.get<{ Querystring: { page: string } }>('/files', { onRequest: requireOAuth('files.read') }, async (request) => {
  const response = await request.oauth2.fetch(`https://www.googleapis.com/drive/v3/files?page=${request.query.page}`)
  return response.json()
})
app.get('/deals', { config: { oauth2: { scopes: 'deals.read', client: 'crm' } } }, async ({ crm }) => crm.scopes)
app.setErrorHandler((error, _request, reply) => reply.send(error instanceof OAuth2ClientError ? error.code : error))
// @ts-expect-error a scope that nobody declared
requireOAuth('files.raed')
