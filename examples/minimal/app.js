// A whole app in one file. In a folder of your own, after `npm init -y` and `npm pkg set type=module`:
//   npm install fastify-oauth2client fastify @fastify/cookie @fastify/session oidc-provider && node app.js
// The provider is one for trying things out, in the same process: any user name will do, and the password is "password".
import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import oauth2Client, { oauthAware, requireOAuth } from 'fastify-oauth2client'
import { startAuthorizationServer } from 'fastify-oauth2client/testing'

// In earnest: the issuer, client id and secret of your provider, and a session secret that outlives a restart.
const { issuer, clientId, clientSecret } = await startAuthorizationServer()
const secret = process.env.SESSION_SECRET ?? randomBytes(32).toString('hex')

const app = Fastify({ logger: true })
app.register(cookie)
app.register(session, { secret, rolling: false, cookie: { secure: 'auto', sameSite: 'lax' } })
app.register(oauth2Client, { provider: { issuer }, clientId, clientSecret, baseUrl: 'http://localhost:3000' })

app.get('/', { onRequest: oauthAware() }, async ({ oauth2 }, reply) => {
  reply.type('text/html')
  if (!oauth2.hasCredentials()) return '<a href="/profile">Sign in</a>'
  const token = `<input type="hidden" name="_csrf" value="${oauth2.xsrfToken}">`
  return `<form method="post" action="/oauth2logout">${token}<button>Sign out</button></form>`
})

app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.claims)

await app.listen({ port: 3000 })
