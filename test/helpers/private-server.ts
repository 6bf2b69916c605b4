/** Database servers of the test's own, on data of their own, that can break down and come back. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import type { StoreTask } from './shared-store.js'

const run = promisify(execFile)

/** Debian keeps the programs of PostgreSQL where no shell looks for them, and those of MariaDB among root's. */
const env = { ...process.env, PATH: [process.env.PATH, '/usr/sbin', ...postgresPrograms()].join(':') }

function postgresPrograms(): string[] {
  const root = '/usr/lib/postgresql'
  try {
    return readdirSync(root).map((version) => `${root}/${version}/bin`)
  } catch {
    return []
  }
}

interface Recipe {
  readonly name: string
  readonly kind: StoreTask['kind']
  /** Every program that it takes. */
  readonly programs: readonly string[]
  /** Who runs it where we are root: some refuse to be. */
  readonly user?: string
  readonly signal: NodeJS.Signals
  init?(data: string, options: { uid?: number; gid?: number; env: NodeJS.ProcessEnv }): Promise<unknown>
  command(data: string, port: number): readonly [program: string, ...args: string[]]
  url(port: number): string
}

const loopback = '127.0.0.1'
const redis = (name: string, ...persistence: string[]): Recipe => ({
  name,
  kind: 'redis',
  programs: ['redis-server'],
  signal: 'SIGKILL',
  command: (data, port) => [
    'redis-server',
    ...['--bind', loopback, '--port', String(port), '--dir', data, '--save', ''],
    ...persistence,
  ],
  url: (port) => `redis://${loopback}:${port}`,
})

const recipes = {
  redis: redis('Redis', '--appendonly', 'yes', '--appendfsync', 'always'),
  'forgetful redis': redis('Redis without persistence', '--appendonly', 'no'),
  postgres: {
    name: 'PostgreSQL',
    kind: 'postgres',
    programs: ['initdb', 'postgres'],
    user: 'postgres',
    // What they call immediate shutdown: nothing is written down, and the next start recovers as from a crash.
    signal: 'SIGQUIT',
    init: (data, options) => run('initdb', ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync'], options),
    command: (data, port) => ['postgres', '-D', data, '-h', loopback, '-p', String(port), '-k', data],
    url: (port) => `postgres://postgres@${loopback}:${port}/postgres`,
  },
  mysql: {
    name: 'MariaDB',
    kind: 'mysql',
    programs: ['mariadb-install-db', 'mariadbd'],
    user: 'mysql',
    signal: 'SIGKILL',
    init: (data, options) =>
      run(
        'mariadb-install-db',
        ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal'],
        options,
      ),
    command: (data, port) => [
      'mariadbd',
      ...['--no-defaults', `--datadir=${data}`, `--port=${port}`, `--bind-address=${loopback}`],
      `--socket=${data}/socket`,
    ],
    url: (port) => `mysql://root@${loopback}:${port}/test`,
  },
} satisfies Record<string, Recipe>

export interface PrivateServer {
  readonly task: StoreTask
  start(): Promise<void>
  /** It breaks down. */
  stop(): Promise<void>
  remove(): Promise<void>
}

/** `describe` for tests with such a server, and a way to make one; left out where it is not installed, except with `CI`. */
export function privateServer(which: keyof typeof recipes) {
  const recipe: Recipe = recipes[which]
  const missing = recipe.programs.filter((program) => !isInstalled(program))
  if (missing.length > 0) {
    const problem = `${recipe.name} is not installed: ${missing.join(', ')}.`
    if (process.env.CI) throw new Error(problem)
    console.warn(`${problem} Tests that stop and start it are left out.`)
  }
  return { name: recipe.name, describe: missing.length > 0 ? describe.skip : describe, make: () => make(recipe) }
}

async function make(recipe: Recipe): Promise<PrivateServer> {
  const directory = await mkdtemp(join(tmpdir(), 'private-server-'))
  const data = join(directory, 'data')
  await mkdir(data)
  const as: { uid?: number; gid?: number } = process.getuid?.() === 0 && recipe.user ? idsOf(recipe.user) : {}
  if (as.uid !== undefined && as.gid !== undefined) {
    await chmod(directory, 0o755)
    await chown(data, as.uid, as.gid)
  }
  await recipe.init?.(data, { ...as, env })
  const port = await freePort()
  let server: ChildProcess | undefined
  const stop = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    server.kill(recipe.signal)
    await once(server, 'exit')
  }
  return {
    task: { kind: recipe.kind, at: recipe.url(port), name: `test_${randomBytes(4).toString('hex')}` },
    async start() {
      const [program, ...args] = recipe.command(data, port)
      server = spawn(program, args, { ...as, env, cwd: data, stdio: 'ignore' })
      for (let left = 200; !(await answers(port)); left -= 1) {
        if (left === 0 || server.exitCode !== null) throw new Error(`${recipe.name} does not start`)
        await sleep(50)
      }
    },
    stop,
    async remove() {
      await stop()
      await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { env, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function idsOf(user: string): { uid: number; gid: number } {
  const id = (what: string) => Number(execFileSync('id', [what, user]))
  return { uid: id('-u'), gid: id('-g') }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, loopback)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: loopback, port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
