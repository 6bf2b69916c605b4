/** Runs the TypeScript of a page of docs/ as it is printed there, against a server of ours in the place of the provider. */
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { FastifyInstance } from 'fastify'
import { sql } from 'kysely'
import { onTestFinished, vi } from 'vitest'
import { sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { type AuthorizationServer, startAuthorizationServer } from '../../src/testing/index.js'
import { listen } from '../helpers/listen.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

const DRIVE = 'https://www.googleapis.com/auth/drive.readonly'

/** What stands for Google: signs alice in, and has her files. */
async function startGoogle(): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer({
    scopes: { [DRIVE]: {} },
    api: { '/drive/v3/files': { scope: DRIVE, body: ({ name }) => ({ files: [`of ${name}`] }) } },
    autoApprove: { user: 'alice' },
  })
  onTestFinished(() => server.close())
  return server
}

/**
 * A provider, a database, and the blocks of a page, which run over both.
 *
 * @param schema of the app's own tables, as they were before the move
 */
export async function startPage(page: string, schema: readonly string[] = []) {
  const google = await startGoogle()
  const folder = await mkdtemp(join(tmpdir(), 'page-'))
  const env = {
    DATABASE: join(folder, 'app.sqlite'),
    SESSION_SECRET: 's'.repeat(40),
    OAUTH2_KEY: 'k'.repeat(40),
    CLIENT_ID: google.clientId,
    CLIENT_SECRET: google.clientSecret,
  }
  const db = await openSqlite({ path: env.DATABASE })
  onTestFinished(async () => {
    await db.destroy()
    await rm(folder, { recursive: true })
  })
  for (const statement of schema) await sql.raw(statement).execute(db)
  const run = (name: string, more: Partial<PageOptions> = {}) =>
    runBlock(page, name, { issuer: google.issuer, ...more, env: { ...env, ...more.env } })
  return {
    google,
    db,
    folder,
    /** Runs a script, and gives what it said. */
    async script(name: string, more?: Partial<PageOptions>): Promise<string[]> {
      const said = vi.spyOn(console, 'error').mockImplementation(() => {})
      try {
        await run(name, more)
        return said.mock.calls.map(([line]) => String(line))
      } finally {
        said.mockRestore()
      }
    },
    /** Starts an app. What `before` puts into a session at `/before` is what it had from the sign-in of the other library. */
    async start(name: string, before: Readonly<Record<string, unknown>> = {}, more?: Partial<PageOptions>) {
      const { app } = await run(name, more)
      if (!app) throw new Error(`${name}.ts exports no app`)
      app.get('/before', async ({ session }) => {
        for (const [key, value] of Object.entries(before)) session.set(key as never, value as never)
        return 'signed in'
      })
      app.get('/session', async ({ session }) => ({ ...session }))
      return { app, url: await listen(app) }
    },
    /** What is stored, by user. */
    async stored(): Promise<Map<string, string | undefined>> {
      const store = sqlStore({ db })
      const found = new Map<string, string | undefined>()
      for await (const key of store.list?.('user/') ?? []) found.set(key, (await store.get(key))?.value)
      return found
    },
    /** Writes a client secrets file, and gives its path. */
    async clientSecrets(): Promise<string> {
      const uris = { auth_uri: `${google.issuer}/auth`, token_uri: `${google.issuer}/token` }
      const client = { client_id: google.clientId, client_secret: google.clientSecret, ...uris }
      await writeFile(join(folder, 'client_secrets.json'), JSON.stringify({ installed: client }))
      return join(folder, 'client_secrets.json')
    },
    tokenRequests: () => google.tokenRequests.map(({ grantType }) => grantType),
    async issue(user: string) {
      const { accessToken, refreshToken } = await google.issueTokens({
        user,
        scopes: ['openid', 'profile', 'email', DRIVE],
      })
      return { access_token: accessToken, refresh_token: refreshToken, token_type: 'Bearer' }
    },
  }
}

interface PageOptions {
  /** `INPUT` is what a script reads from standard input. */
  readonly env: Readonly<Record<string, string>>
  /** Where the provider is. */
  readonly issuer: string
  readonly args?: readonly string[]
}

/**
 * Runs the block that begins with the name of that file: an app is what it exports, a script has run. Only what a test cannot have
 * is replaced: Google by the issuer, the app's public address by that of this machine, files by those of the test.
 */
async function runBlock(
  page: string,
  name: string,
  { env, issuer, args = [] }: PageOptions,
): Promise<{ readonly app: FastifyInstance | undefined }> {
  const text = await readFile(join(root, 'docs', page), 'utf8')
  const block = [...text.matchAll(/^```ts\n\/\/ (\S+)\.ts\n(.*?)^```/gms)].find(([, file]) => file === name)?.[2]
  if (block === undefined) throw new Error(`${page} has no ${name}.ts`)
  const source = block
    .replaceAll('google()', `google({ issuer: '${issuer}' })`)
    .replaceAll("'https://www.googleapis.com/drive", `'${issuer}/drive`)
    .replaceAll("'credentials.sqlite'", 'process.env.DATABASE')
    .replaceAll("'client_secrets.json'", 'process.env.CLIENT_SECRETS')
    .replaceAll('process.stdin', `(await import('node:stream')).Readable.from([process.env.INPUT])`)
    .replaceAll(/ *baseUrl: 'https:\/\/app\.example\.com',?\n?/g, '')
  // Inside of the repository, so that its packages are found, and never twice the same: a script has to run again.
  const folder = join(root, 'test', `.page-${randomUUID()}`)
  await mkdir(folder)
  const argv = process.argv
  try {
    await writeFile(join(folder, `${name}.ts`), source)
    for (const [variable, value] of Object.entries(env)) vi.stubEnv(variable, value)
    process.argv = [...argv.slice(0, 2), ...args]
    const module = await import(/* @vite-ignore */ pathToFileURL(join(folder, `${name}.ts`)).href)
    const { app } = module as { app?: FastifyInstance }
    if (app) onTestFinished(() => app.close())
    // What is read of the environment when plugins are registered is read now.
    await app?.after()
    return { app }
  } finally {
    process.argv = argv
    vi.unstubAllEnvs()
    await rm(folder, { recursive: true })
  }
}
