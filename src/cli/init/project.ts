/** What is around the app: `package.json`, `tsconfig.json`, `.env.example`, `.gitignore` and the README. */
import { type Choices, extension, type StoreName } from './choices.js'
import { URLS } from './settings.js'

const PACKAGES: Readonly<Record<StoreName, readonly string[]>> = {
  session: [],
  sqlite: ['kysely'],
  postgres: ['kysely', 'pg'],
  redis: ['ioredis'],
}

export function packageFile(choices: Choices): string {
  const { name, store, typescript, range } = choices
  const ranges = (names: readonly string[]) => Object.fromEntries([...names].sort().map((it) => [it, range(it)]))
  const own = ['fastify', '@fastify/cookie', '@fastify/session', 'fastify-oauth2client', ...PACKAGES[store]]
  const types = typescript ? ['typescript', '@types/node', ...(store === 'postgres' ? ['@types/pg'] : [])] : []
  const scripts = typescript
    ? {
        build: 'tsc',
        dev: 'tsc && node dist/src/server.js',
        start: 'node dist/src/server.js',
        test: 'tsc && node --test dist/test/*.test.js',
      }
    : { dev: 'node src/server.js', start: 'node src/server.js', test: 'node --test test/*.test.js' }
  const content = {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19.0' },
    scripts,
    dependencies: ranges(own),
    // SQLite for a Node that has none of its own.
    ...(store === 'sqlite' ? { optionalDependencies: ranges(['libsql']) } : {}),
    devDependencies: ranges(['oidc-provider', ...types]),
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

export function tsconfigFile(): string {
  const compilerOptions = {
    target: 'es2023',
    module: 'nodenext',
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    rootDir: '.',
    outDir: 'dist',
  }
  return `${JSON.stringify({ compilerOptions, include: ['src', 'test'] }, null, 2)}\n`
}

export function gitignoreFile({ store, typescript }: Choices): string {
  const names = [
    'node_modules/',
    '.env',
    ...(typescript ? ['dist/'] : []),
    ...(store === 'sqlite' ? ['*.sqlite*'] : []),
  ]
  return `${names.join('\n')}\n`
}

export function envFile({ provider, store }: Choices): string {
  const where = {
    session: '',
    sqlite: '\n# The file of the credentials.\n# DATABASE=app.sqlite\n',
    postgres: '\n# Where the credentials are kept.\nDATABASE_URL=postgres://app@localhost/app\n',
    redis: '\n# Where the credentials are kept.\nREDIS_URL=redis://localhost:6379\n',
  }[store]
  return `# Copy this to .env, which is never committed. Without CLIENT_ID, "npm run dev" needs nothing of it.

# From ${provider.label}: see README.md
CLIENT_ID=
CLIENT_SECRET=

# Two secrets of your own, not the same: npx fastify-oauth2client keygen
SESSION_SECRET=
OAUTH2_KEY=
${where}
# PORT=3000
# HOST=localhost
# In production, the origin that browsers see:
# NODE_ENV=production
# BASE_URL=https://app.example.com
`
}

export function readmeFile(choices: Choices): string {
  const { name, provider, store } = choices
  const { preset, issuer } = provider
  const providerOptions = [
    ...(preset === undefined ? [] : [`--provider ${preset}`]),
    ...(issuer === undefined ? [] : [`--issuer ${issuer}`]),
  ].join(' ')
  const at = provider.console === undefined ? `At ${provider.label}` : `At [${provider.label}](${provider.console})`
  const file = (path: string) => `\`${path}.${extension(choices)}\``
  const server =
    store === 'postgres' || store === 'redis' ? `, and \`${URLS[store]}\` to where credentials are kept` : ''
  return `# ${name}

\`\`\`sh
npm install
npm run dev    # http://localhost:3000: any user name, and the password "password"
npm test
\`\`\`

That needs no account: a real authorization server runs in the same process, on port 3001.

## With ${provider.label}

1. ${at}, register a web application with exactly this redirect URI:

       http://localhost:3000/oauth2callback
${provider.page === undefined ? '' : `\n   It asks for the scope \`${provider.page.scope}\` when somebody opens \`${provider.page.path}\`.\n`}
2. \`cp .env.example .env\`, and set \`CLIENT_ID\` and \`CLIENT_SECRET\` to what you got${server}. Set \`SESSION_SECRET\` and
   \`OAUTH2_KEY\` to what two runs of \`npx fastify-oauth2client keygen\` print.
3. \`npm run dev\` again.

## In production

Register \`https://<your host>/oauth2callback\` too, and set \`NODE_ENV=production\` and \`BASE_URL=https://<your host>\`.
\`npx fastify-oauth2client doctor ${providerOptions} --client-id <id> --base-url https://<your host>\` says
what is still wrong. Sessions are in memory: give \`@fastify/session\` a store before there are several processes.

## Where is what

| file | |
|---|---|
| ${file('src/app')} | the plugin and the routes: begin here |
| ${file('src/page')} | the HTML |
| ${file('src/settings')} | what the environment says |
| ${file('src/local')} | the server that stands in for ${provider.label} |
${store === 'session' ? '' : `| ${file('src/store')} | where credentials are kept |\n`}| ${file('test/app.test')} | signs people in without asking anybody |
`
}
