/** What deploy/compose.yaml runs, as plain processes of this machine: the same app, the same configuration of nginx, real stores. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import pg from 'pg'
// A dependency of other packages that are here for tests.
import { parse } from 'yaml'
import { type AuthorizationServer, startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { installPackage } from '../helpers/build.js'
import { makeCertificates } from '../helpers/certificates.js'
import { ended } from '../helpers/processes.js'

export const deploy = fileURLToPath(new URL('../../deploy', import.meta.url))
const run = promisify(execFile)

export interface Service {
  readonly image?: string
  readonly environment: Readonly<Record<string, string>>
  readonly secrets?: readonly string[]
  readonly command?: readonly string[]
  readonly healthcheck: { readonly test?: readonly string[] }
  readonly networks: { readonly default: { readonly ipv4_address: string } }
}
export interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
}
export const compose: Compose = parse(await readFile(join(deploy, 'compose.yaml'), 'utf8'), { merge: true })
export const template = await readFile(join(deploy, 'nginx/app.conf.template'), 'utf8')

/** Where nginx is; Debian puts it where the PATH of a user does not lead. */
export const nginx = await findNginx()

async function findNginx(): Promise<string | undefined> {
  for (const path of ['nginx', '/usr/sbin/nginx']) {
    if (await run(path, ['-v']).catch(() => undefined)) return path
  }
  if (process.env.CI) throw new Error('There is no nginx.')
  console.warn('There is no nginx. Its tests are left out.')
  return undefined
}

/** One line of nginx's log. */
export interface Answered {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Those that were asked, in order. */
  readonly upstreams: readonly string[]
}

/** One process of the app. */
export class AppProcess {
  readonly address: string
  readonly #command: () => ChildProcess
  #child!: ChildProcess
  #end!: ReturnType<typeof ended>

  constructor(port: number, command: () => ChildProcess) {
    this.address = `127.0.0.1:${port}`
    this.#command = command
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    this.#child = this.#command()
    this.#end = ended(this.#child)
    let over: string | undefined
    void this.#end.then(({ output }) => {
      over = output
    })
    while (!(await this.healthy())) {
      if (over !== undefined) throw new Error(`the app did not start: ${over}`)
      await sleep(50)
    }
  }

  healthy(): Promise<boolean> {
    return fetch(`http://${this.address}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  }

  /** Resolves to how it ended. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): ReturnType<typeof ended> {
    this.#child.kill(signal)
    return this.#end
  }
}

export class Deployment {
  readonly url: string
  /** Where there is no TLS. */
  readonly plainUrl: string
  readonly server: AuthorizationServer
  readonly apps: readonly AppProcess[]
  readonly #folder: string
  readonly #ca: string
  readonly #undo: readonly (() => unknown)[]

  private constructor(parts: {
    url: string
    plainUrl: string
    server: AuthorizationServer
    apps: readonly AppProcess[]
    folder: string
    ca: string
    undo: readonly (() => unknown)[]
  }) {
    this.url = parts.url
    this.plainUrl = parts.plainUrl
    this.server = parts.server
    this.apps = parts.apps
    this.#folder = parts.folder
    this.#ca = parts.ca
    this.#undo = parts.undo
  }

  static async start(stores: { postgres: string; redis: string }): Promise<Deployment> {
    const undo: (() => unknown)[] = []
    const folder = await mkdtemp(join(tmpdir(), 'deployment-'))
    undo.push(() => rm(folder, { recursive: true }))
    const { ca, server: certificate } = makeCertificates()
    const [httpPort, httpsPort, ...appPorts] = (await freePorts(5)) as [number, number, number, number, number]
    const url = `https://localhost:${httpsPort}`
    const clientSecret = randomBytes(24).toString('base64url')
    const server = await startAuthorizationServer({
      hostname: '127.0.0.1',
      clients: [{ clientId: 'deployed', clientSecret, redirectUris: [`${url}/oauth2callback`] }],
      scopes: { 'files.read': {} },
      api: { '/files': { scope: 'files.read', body: ({ name }) => [`${name}.txt`] } },
      googleHabits: false,
      rotateRefreshTokens: true,
    })
    undo.push(() => server.close())

    const place = `test_${randomBytes(6).toString('hex')}`
    const database = new URL(stores.postgres)
    const pool = new pg.Pool({ connectionString: stores.postgres, max: 1 })
    await pool.query(`create schema ${place}`)
    undo.push(async () => {
      await pool.query(`drop schema ${place} cascade`)
      await pool.end()
    })
    undo.push(() => forget(stores.redis, place))

    const values: Record<string, string> = {
      'client-secret': clientSecret,
      'session-secret': randomBytes(32).toString('base64url'),
      'encryption-keys': [1, 2].map(() => randomBytes(32).toString('base64url')).join('\n'),
      'postgres-password': decodeURIComponent(database.password) || 'unused',
      certificate: certificate.cert,
      'certificate-key': certificate.key,
    }
    const secrets = join(folder, 'secrets')
    await mkdir(secrets)
    for (const [name, value] of Object.entries(values)) await writeFile(join(secrets, name), `${value}\n`)

    // Those of the compose file, with what is different here.
    const environment = (port: number) => ({
      ...compose.services['app-1']!.environment,
      HOST: '127.0.0.1',
      PORT: String(port),
      TRUST_PROXY: '127.0.0.1',
      BASE_URL: url,
      ISSUER: server.issuer,
      CLIENT_ID: 'deployed',
      API_URL: `${server.issuer}/files`,
      API_SCOPE: 'files.read',
      PGHOST: database.hostname,
      PGPORT: database.port || '5432',
      PGUSER: decodeURIComponent(database.username),
      PGDATABASE: database.pathname.slice(1),
      PGOPTIONS: `-c search_path=${place}`,
      REDIS_URL: `${stores.redis}?keyPrefix=${place}:`,
      SECRETS: secrets,
      PATH: process.env.PATH ?? '',
    })

    const app = join(folder, 'app')
    await cp(join(deploy, 'app'), app, { recursive: true })
    const { dependencies } = JSON.parse(await readFile(join(app, 'package.json'), 'utf8'))
    await installPackage(
      app,
      Object.keys(dependencies).filter((name) => name !== 'fastify-oauth2client'),
    )
    const node = (script: string, port: number) =>
      spawn(process.execPath, [script], { cwd: app, env: environment(port) })
    const migrated = await ended(node(compose.services.migrate!.command![1]!, 0))
    if (migrated.code !== 0) throw new Error(`the tables were not made: ${migrated.output}`)
    const apps = appPorts.map((port) => new AppProcess(port, () => node('main.js', port)))
    undo.push(() => Promise.all(apps.map((process) => process.stop('SIGKILL'))))
    await Promise.all(apps.map((process) => process.start()))

    const variables: Record<string, string> = {
      HTTP_LISTEN: `127.0.0.1:${httpPort}`,
      HTTPS_LISTEN: `127.0.0.1:${httpsPort}`,
      BASE_URL: url,
      CERTIFICATE: join(secrets, 'certificate'),
      CERTIFICATE_KEY: join(secrets, 'certificate-key'),
      ACCESS_LOG: join(folder, 'access.log'),
      ...Object.fromEntries(apps.map(({ address }, index) => [`APP_${index + 1}`, address])),
    }
    await writeFile(join(folder, 'app.conf'), filled(template, variables))
    await writeFile(join(folder, 'nginx.conf'), mainConfiguration(folder))
    const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')]
    await run(nginx as string, [...args, '-t'])
    const proxy = spawn(nginx as string, args)
    const proxyEnd = ended(proxy)
    undo.push(() => {
      proxy.kill('SIGQUIT')
      return proxyEnd
    })
    const deployment = new Deployment({ url, plainUrl: `http://localhost:${httpPort}`, server, apps, folder, ca, undo })
    while (
      (
        await deployment
          .browser()
          .step(`${url}/health`)
          .catch(() => undefined)
      )?.status !== 200
    )
      await sleep(20)
    return deployment
  }

  browser(): Browser {
    return new Browser({ ca: this.#ca, timeout: 20_000 })
  }

  /** From a page that wants a person to where they end up, who says yes to everything. */
  async signIn(browser: Browser, user: string, path = '/files') {
    const form = await browser.goto(`${this.url}${path}`)
    const consent = await browser.submit(form, 0, { username: user, password: 'password' })
    return browser.submit(consent)
  }

  /** What nginx has written since there were `from` lines. */
  async log(from = 0): Promise<Answered[]> {
    const lines = (await readFile(join(this.#folder, 'access.log'), 'utf8')).split('\n').filter(Boolean)
    return lines.slice(from).map((line) => {
      const { method, path, status, upstream } = JSON.parse(line)
      return { method, path, status, upstreams: upstream.split(', ') }
    })
  }

  /** Everything that nginx has written. */
  written(): Promise<string> {
    return readFile(join(this.#folder, 'access.log'), 'utf8')
  }

  refreshes(): number {
    return this.server.tokenRequests.filter(({ grantType }) => grantType === 'refresh_token').length
  }

  async close(): Promise<void> {
    for (const step of [...this.#undo].reverse()) await step()
  }
}

/** As the image of nginx does it: what is set is filled in, all else is for nginx. */
function filled(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)\}/g, (whole, name: string) => variables[name] ?? whole)
}

/** What the image of nginx has around it. */
function mainConfiguration(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off;
worker_processes 2;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log notice;
events {}
http {
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  include ${folder}/app.conf;
}
`
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  const ports = await Promise.all(
    servers.map(async (server) => {
      await new Promise((resolve) => server.once('listening', resolve))
      return (server.address() as { port: number }).port
    }),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

async function forget(url: string, prefix: string): Promise<void> {
  const redis = new Redis(url)
  for await (const keys of redis.scanStream({ match: `${prefix}:*` })) if (keys.length > 0) await redis.del(...keys)
  await redis.quit()
}
