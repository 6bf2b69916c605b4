/**
 * Stores in other processes. Node 20 cannot run TypeScript and `dist` may be missing or old, so the stores are compiled
 * into a folder of their own, once for each test file, and `child.mjs` imports them from there.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const script = fileURLToPath(new URL('child.mjs', import.meta.url))

/** What a child is told to do; see `child.mjs`. */
export interface Task {
  kind: 'file' | 'sqlite'
  path: string
  /** `increment`: that many times. `die`: before that many calls of the file system. `write`: until it is killed. */
  action: 'increment' | 'die' | 'write' | 'once'
  count?: number
}

export interface Children {
  start(task: Task, user?: number): ChildProcess
  /** Resolves to how the child ended and what it said. With `user`, it becomes that one first. */
  run(task: Task, user?: number): Promise<Ended>
  remove(): Promise<void>
}

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  output: string
}

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

export async function compileForChildren(): Promise<Children> {
  // Inside of node_modules, so that the packages are found and nobody's tools look at it.
  const cache = join(root, 'node_modules/.cache')
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'stores-'))
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
      rootDir: join(root, 'src'),
      outDir: '.',
    },
    include: [],
    files: ['file', 'sql', 'sqlite'].map((name) => join(root, `src/storage/${name}.ts`)),
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder])
  const start: Children['start'] = (task, user) =>
    spawn(process.execPath, [script, folder, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...(user === undefined ? {} : { CHILD_USER: String(user) }) },
    })
  return {
    start,
    run: (task, user) => ended(start(task, user)),
    remove: () => rm(folder, { recursive: true }),
  }
}
