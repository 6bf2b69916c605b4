// A whole app in one file. Copy it into a folder of yours, and there:
//   npm init -y && npm pkg set type=module
//   npm install fastify-oauth2client fastify @fastify/cookie @fastify/session oidc-provider
//   node app.js
// Without ISSUER, the provider is one for trying things out, in the same process: any user name, the password is "password".
import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { oauthAware, requireOAuth } from 'fastify-oauth2client'
import { startAuthorizationServer } from 'fastify-oauth2client/testing'

const {
  PORT = '3000',
  ISSUER,
  CLIENT_ID,
  CLIENT_SECRET,
  SESSION_SECRET = randomBytes(32).toString('hex'),
} = process.env
const given = { issuer: ISSUER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
const { issuer, clientId, clientSecret } = ISSUER ? given : await startAuthorizationServer()

const app = Fastify({ logger: true })
app.register(cookie)
app.register(session, { secret: SESSION_SECRET, rolling: false, cookie: { secure: 'auto', sameSite: 'lax' } })
app.register(oauth2Client, { provider: { issuer }, clientId, clientSecret, baseUrl: `http://localhost:${PORT}` })

app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }, reply) => {
  reply.type('text/html')
  if (!oauth2.hasCredentials()) return '<a href="/profile">Sign in</a>'
  const token = `<input type="hidden" name="_csrf" value="${oauth2.xsrfToken}">`
  return `<a href="/profile">Profile</a> <form method="post" action="/oauth2logout">${token}<button>Sign out</button></form>`
})
app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({
  email: oauth2.email,
  claims: oauth2.claims,
}))

await app.listen({ port: Number(PORT) })
