// `@fastify/passport` with the strategy for OAuth 2.0: the session knows the user's id, and the user has the tokens.
import { promisify } from 'node:util'
import { Authenticator } from '@fastify/passport'
import OAuth2Strategy from 'passport-oauth2'
import refresh from 'passport-oauth2-refresh'
import { CLIENT, fastifyApp, listen, SCOPES } from '../lib/serving.mjs'

const requestNewAccessToken = promisify((token, done) =>
  refresh.requestNewAccessToken('oauth2', token, (error, accessToken, refreshToken, answer) =>
    done(error, { accessToken, refreshToken, expiresIn: answer?.expires_in }),
  ),
)

const expiry = (seconds) => Date.now() + seconds * 1_000

/** @param options.sessions which plugin */
export async function start({ provider, sessions }) {
  const server = await fastifyApp(sessions)
  const { app, origin } = server
  /** The least that a table of users can be. */
  const users = new Map()
  const strategy = new OAuth2Strategy(
    {
      authorizationURL: `${provider}/authorize`,
      tokenURL: `${provider}/token`,
      clientID: CLIENT.id,
      clientSecret: CLIENT.secret,
      callbackURL: `${origin}/callback`,
      scope: SCOPES,
      state: true,
      pkce: true,
    },
    (accessToken, refreshToken, answer, _profile, done) => {
      const { sub } = JSON.parse(Buffer.from(answer.id_token.split('.')[1], 'base64url'))
      const user = { id: sub, accessToken, refreshToken, expiresAt: expiry(answer.expires_in) }
      users.set(sub, user)
      done(null, user)
    },
  )
  refresh.use(strategy)
  const passport = new Authenticator()
  passport.use(strategy)
  passport.registerUserSerializer(async (user) => user.id)
  passport.registerUserDeserializer(async (id) => users.get(id) ?? null)
  await app.register(passport.initialize())
  await app.register(passport.secureSession())

  async function signedIn(request, reply) {
    if (!request.isAuthenticated()) return reply.code(401).send({})
  }
  app.get('/login', { preValidation: passport.authenticate('oauth2') }, async () => {})
  app.get(
    '/callback',
    { preValidation: passport.authenticate('oauth2', { successRedirect: '/guarded' }) },
    async () => {},
  )
  app.get('/guarded', { preValidation: signedIn }, async (request) => ({ user: request.user.id }))
  app.get('/token', { preValidation: signedIn }, async ({ user }) => {
    if (user.expiresAt <= Date.now()) {
      const { accessToken, refreshToken, expiresIn } = await requestNewAccessToken(user.refreshToken)
      Object.assign(user, { accessToken, refreshToken, expiresAt: expiry(expiresIn) })
    }
    return user.accessToken
  })
  return listen(server)
}
