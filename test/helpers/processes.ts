/**
 * Code of the package in other processes. Node 20 cannot run TypeScript and `dist` may be missing or old, so what they run is
 * compiled into a folder of its own, once for each test file.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Compiled {
  /** Where it is, with the paths that the sources have. */
  readonly folder: string
  /**
   * Runs a script with the folder and the task as arguments, the latter as JSON.
   *
   * @param script one that was compiled, such as `test/helpers/app-child.js`, or the path of any other
   * @param talk whether messages can be sent to it
   */
  start(script: string, task: unknown, options?: { env?: NodeJS.ProcessEnv; talk?: boolean }): ChildProcess
  remove(): Promise<void>
}

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  output: string
}

/** Resolves to how the process ended and what it said. */
export async function ended(child: ChildProcess): Promise<Ended> {
  let output = ''
  child.stdout?.on('data', (chunk) => {
    output += chunk
  })
  child.stderr?.on('data', (chunk) => {
    output += chunk
  })
  const [code, signal] = await once(child, 'close')
  return { code, signal, output }
}

/** @param entries files such as `src/storage/sql`, without their ending; what they import comes along */
export async function compileSources(entries: readonly string[]): Promise<Compiled> {
  // Inside of node_modules, so that the packages are found and nobody's tools look at it.
  const cache = join(root, 'node_modules/.cache')
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'compiled-'))
  // Some children are other users.
  await chmod(folder, 0o755)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const config = {
    extends: join(root, 'tsconfig.build.json'),
    // Whether the types are right is for others to tell.
    compilerOptions: {
      noCheck: true,
      declaration: false,
      declarationMap: false,
      rootDir: root,
      outDir: '.',
    },
    include: [],
    files: entries.map((name) => join(root, `${name}.ts`)),
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder])
  return {
    folder,
    start: (script, task, { env, talk = false } = {}) =>
      spawn(process.execPath, [resolve(folder, script), folder, JSON.stringify(task)], {
        stdio: talk ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
      }),
    remove: () => rm(folder, { recursive: true }),
  }
}
