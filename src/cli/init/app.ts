/** `src/app`, `src/server`: the app itself, and what starts it. */
import { type Choices, imported, onlyIn, quoted } from './choices.js'

export function appFile(choices: Choices): string {
  const { provider, name } = choices
  const { page, scopes } = provider
  return `/** Puts the app together. Nothing listens yet, so that tests can do it their way. */
${imported('cookie', '@fastify/cookie')}
${imported('session', '@fastify/session')}
${imported('Fastify', 'fastify')}
${imported('oauth2Client, { oauthAware, requireOAuth }', 'fastify-oauth2client')}
${imported('{ page }', './page.js')}${onlyIn(choices, `\n${imported('type { Settings }', './settings.js')}`)}

export async function buildApp(settings${onlyIn(choices, ': Settings')}) {
  // Trusts a proxy on this machine. For one elsewhere, write its address.
  const app = Fastify({ logger: { level: settings.logLevel }, trustProxy: '127.0.0.1' })
  app.addHook('onClose', () => settings.close())

  app.register(cookie)
  // Sessions are in memory: give @fastify/session a store before there are several processes.
  app.register(session, {
    secret: settings.sessionSecret,
    rolling: false,
    saveUninitialized: false,
    cookie: { secure: 'auto', sameSite: 'lax' },
  })
  app.register(oauth2Client, {
    ...settings.client,
    baseUrl: settings.baseUrl,${scopes === undefined ? '' : `\n    scopes: [${scopes.map(quoted).join(', ')}],`}
    storage: settings.storage,
    encryptionKeys: [settings.encryptionKey],
  })

  // Everybody may see this page; it knows whether somebody is signed in.
  app.get('/', { onRequest: oauthAware() }, async (request, reply) => {
    const { oauth2 } = request
    const signedIn = oauth2.hasCredentials()
    reply.type('text/html; charset=utf-8').header('cache-control', 'no-store')
    return page({
      title: ${quoted(name)},
      who: signedIn ? (oauth2.email ?? oauth2.userId ?? 'somebody') : undefined,
      signIn: await oauth2.authorizeUrl('/'),
      signOut: { action: app.oauth2.logoutPath, token: signedIn ? oauth2.xsrfToken : '' },
    })
  })

  // Whoever is not signed in is sent to ${provider.label} and comes back here; programs get a 401.
  app.get('/me', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
    return { userId: oauth2.userId, email: oauth2.email, scopes: oauth2.scopes }
  })
${
  page === undefined
    ? ''
    : `
  // One more permission, which is asked for when somebody opens the page.
  app.get(${quoted(page.path)}, { onRequest: requireOAuth(${quoted(page.scope)}) }, async (request, reply) => {
    const response = await request.oauth2.fetch(\`\${settings.api}${page.apiPath}\`)
    return reply.code(response.status).send(await response.json())
  })
`
}
  return app
}
`
}

export function pageFile(choices: Choices): string {
  const { page } = choices.provider
  return `/** The one page of the app. It loads nothing and needs no JavaScript. */
${onlyIn(
  choices,
  `
export interface Page {
  title: string
  /** Who is signed in, if anybody is. */
  who: string | undefined
  signIn: string
  signOut: { action: string; token: string }
}
`,
)}
export function page({ title, who, signIn, signOut }${onlyIn(choices, ': Page')}) {
  return \`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>\${escape(title)}</title>
<style>
body { max-width: 36rem; margin: 4rem auto; padding: 0 1.25rem; font: 1rem/1.6 system-ui, sans-serif }
a, button { font: inherit; padding: .3rem 0 }
button { padding: .3rem 1rem }
</style>
</head>
<body>
<main>
<h1>\${escape(title)}</h1>
\${
  who === undefined
    ? \`<p><a href="\${escape(signIn)}">Sign in</a></p>\`
    : \`<p>You are signed in as <strong>\${escape(who)}</strong>.</p>
<ul>
<li><a href="/me">What the app knows about you</a></li>${
    page === undefined
      ? ''
      : `
<li><a href="${page.path}">One more permission: ${page.words.toLowerCase()}</a></li>`
  }
</ul>
<form method="post" action="\${escape(signOut.action)}">
<input type="hidden" name="_csrf" value="\${escape(signOut.token)}">
<button>Sign out</button>
</form>\`
}
</main>
</body>
</html>
\`
}

function escape(text${onlyIn(choices, ': string')}) {
  return text.replace(/[&<>"']/g, (character) => \`&#\${character.charCodeAt(0)};\`)
}
`
}

export function serverFile(): string {
  return `/** Starts the app: \`npm run dev\`, \`npm start\`. Settings come from the environment and from .env. */
${imported('{ existsSync }', 'node:fs')}
${imported('{ buildApp }', './app.js')}
${imported('{ readSettings }', './settings.js')}

if (existsSync('.env')) process.loadEnvFile('.env')

const settings = await readSettings(process.env)
const app = await buildApp(settings)
await app.listen({ port: settings.port, host: settings.host })
console.log(\`Open \${settings.baseUrl}\${settings.hint}\`)
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
`
}
