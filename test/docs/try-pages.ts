/**
 * Pages of docs/ as their readers try them: the files on a page in a folder of their own, beside the package as it is published, run
 * as processes. Nothing is changed but the ports, which other tests may have taken.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'rolldown/utils'
import type { Browser, Page } from '../helpers/browser.js'
import { buildPackage } from '../helpers/build.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const PEERS = ['fastify', '@fastify/cookie', '@fastify/session', 'oidc-provider', 'kysely', 'libsql']

export interface Running {
  /** What it said so far. */
  output(): string
  /** Resolves when it has said that; rejects when it ends before. */
  says(text: string | RegExp): Promise<void>
  /** Resolves to its exit code. */
  end(): Promise<number | null>
  stop(): Promise<void>
}

export interface TriedPage {
  readonly text: string
  /** The text of the pages that it builds on. */
  readonly others: string
  /** By name: `app.js`. Can be changed before they run. */
  readonly files: Map<string, string>
  /** Where the page's `http://localhost:3000` is now. */
  url(port: number, path?: string): string
  /** Runs a file of the page, with what the page has in `.env`. */
  start(file: string, ...args: string[]): Promise<Running>
  /** Runs a command of the page that begins with `node -e`, without a shell. */
  command(line: string): Promise<string>
}

export interface Pages {
  /** @param others pages whose files this one builds on */
  open(page: string, ...others: string[]): Promise<TriedPage>
  /** A file of the repository, copied. */
  copy(file: string): Promise<TriedPage>
  /** Ends every process and removes the folder. */
  close(): Promise<void>
}

export async function tryPages(): Promise<Pages> {
  const folder = await mkdtemp(join(tmpdir(), 'docs-'))
  await buildPackage(join(folder, 'node_modules/fastify-oauth2client'))
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  for (const name of [...Object.keys(dependencies), ...PEERS]) {
    await mkdir(dirname(join(folder, 'node_modules', name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name), 'junction')
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const running = new Set<Running>()
  let opened = 0
  return {
    async open(page, ...others) {
      const names = [...others, page]
      const texts = await Promise.all(names.map((name) => readFile(join(root, 'docs', name), 'utf8')))
      return tried(join(folder, `try-${++opened}`), texts, texts.flatMap(filesOf), running)
    },
    async copy(file) {
      const text = await readFile(join(root, file), 'utf8')
      return tried(join(folder, `try-${++opened}`), [text], [[basename(file), text]], running)
    },
    async close() {
      await Promise.all([...running].map((process) => process.stop()))
      await rm(folder, { recursive: true })
    },
  }
}

async function tried(
  folder: string,
  texts: string[],
  named: [name: string, text: string][],
  running: Set<Running>,
): Promise<TriedPage> {
  await mkdir(folder)
  const files = new Map(named)
  const ports = new Map(await freePorts([3000, 3001, 4000, 4001]))
  const move = (text: string) => text.replace(/\b[34]00[01]\b/g, (port) => String(ports.get(Number(port))))
  return {
    text: texts.at(-1) as string,
    others: texts.slice(0, -1).join('\n'),
    files,
    url: (port, path = '') => `http://localhost:${ports.get(port)}${path}`,
    async start(file, ...args) {
      for (const [name, text] of files)
        await writeFile(join(folder, name.replace(/\.ts$/, '.js')), await plain(name, move(text)))
      const env = files.has('.env') ? ['--env-file=.env'] : []
      const child = spawn(process.execPath, [...env, file, ...args.map(move)], { cwd: folder, env: environment() })
      const started = watch(child)
      running.add(started)
      return started
    },
    async command(line) {
      const [, script = ''] = /^node -e "(.*)"$/.exec(line) ?? []
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], {
        cwd: folder,
        env: environment(),
      })
      const written = await readFile(join(folder, '.env'), 'utf8').catch(() => undefined)
      if (written !== undefined) files.set('.env', written)
      return stdout
    },
  }
}

/** Blocks whose first line is a comment with the name of a file. */
function filesOf(page: string): [name: string, text: string][] {
  const blocks = page.matchAll(/^```\w+\n(?:\/\/|#) ([\w.-]+)\n(.*?)^```/gms)
  return [...blocks].map(([, name = '', text = '']) => [name, text])
}

async function plain(name: string, text: string): Promise<string> {
  return name.endsWith('.ts') ? (await transform(name, text)).code : text
}

function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, NODE_ENV: __, ...env } = process.env
  return env
}

function watch(child: ChildProcess): Running {
  let output = ''
  const waiting = new Set<() => void>()
  const hear = (chunk: unknown) => {
    output += chunk
    for (const look of waiting) look()
  }
  child.stdout?.on('data', hear)
  child.stderr?.on('data', hear)
  const ended = once(child, 'close').then(([code]) => code as number | null)
  return {
    output: () => output,
    says: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (typeof text === 'string' ? output.includes(text) : text.test(output)) resolve()
        }
        waiting.add(look)
        void ended.then(() => reject(new Error(`it ended without saying ${text}: ${output}`)))
        look()
      }),
    end: () => ended,
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function freePorts(wanted: number[]): Promise<[wanted: number, free: number][]> {
  const servers = wanted.map(() => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server, index): [number, number] => [
    wanted[index] as number,
    (server.address() as AddressInfo).port,
  ])
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

/** What a page says to change, in the order of the page. */
export function diffsOf(page: string): { applyTo(text: string): string }[] {
  return [...page.matchAll(/^```diff\n(.*?)^```/gms)].map(([, diff = '']) => {
    const lines = diff.split('\n').slice(0, -1)
    const without = (mark: string) => lines.flatMap((line) => (line.startsWith(mark) ? [] : [line.slice(1)])).join('\n')
    return {
      applyTo(text) {
        if (!text.includes(without('+'))) throw new Error(`nothing in the file fits ${diff}`)
        return text.replace(without('+'), () => without('-'))
      },
    }
  })
}

/** From the provider's sign-in page, or its consent page, to wherever that leads. Everything is granted but what is declined. */
export async function signInAt(browser: Browser, page: Page, name = 'alice', decline: string[] = []): Promise<Page> {
  let at = page
  if (at.body.includes('name="password"')) at = await browser.submit(at, 0, { username: name, password: 'password' })
  if (!at.body.includes('wants access')) return at
  const boxes = at.forms[0]?.fields.filter(({ name }) => name === 'scope').map(({ value }) => value) ?? []
  return browser.submit(at, 0, { scope: boxes.filter((scope) => !decline.includes(scope)) })
}
