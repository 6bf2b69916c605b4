/**
 * The package as an app has it: built, in a folder of its own, beside those packages only that the app has installed.
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPackage } from '../helpers/build.js'
import type { Ran } from './run.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Installed {
  /** Where the app is, and where commands run. */
  readonly app: string
  /** Installs one more package: a peer where this package finds it, any other for the app alone. */
  add(name: string): Promise<void>
  /** Runs the binary as a process of its own, with no environment but this one. */
  run(args: readonly string[], env?: Record<string, string>): Promise<Ran>
  /** The same without waiting for its end. Only pipes are where a terminal would be. */
  start(args: readonly string[], env?: Record<string, string>): ChildProcessWithoutNullStreams
  remove(): Promise<void>
}

export async function install(): Promise<Installed> {
  const folder = await mkdtemp(join(tmpdir(), 'installed-'))
  const home = join(folder, 'elsewhere/node_modules/fastify-oauth2client')
  const app = join(folder, 'app')
  await mkdir(join(app, 'node_modules'), { recursive: true })
  const { bin, dependencies, peerDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  await buildPackage(home)

  const link = async (name: string, into: string) => {
    const target = join(into, name)
    await mkdir(dirname(target), { recursive: true })
    await symlink(join(root, 'node_modules', name), target, 'junction')
  }
  for (const name of Object.keys(dependencies)) await link(name, join(folder, 'elsewhere/node_modules'))

  const script = join(home, bin.oauth2client)
  return {
    app,
    start: (args, env = {}) => spawn(process.execPath, ['--no-warnings', script, ...args], { cwd: app, env }),
    add: (name) => link(name, join(name in peerDependencies ? join(folder, 'elsewhere') : app, 'node_modules')),
    run: (args, env = {}) =>
      new Promise((resolve) => {
        execFile(process.execPath, ['--no-warnings', script, ...args], { cwd: app, env }, (error, stdout, stderr) => {
          resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
        })
      }),
    remove: () => rm(folder, { recursive: true }),
  }
}
