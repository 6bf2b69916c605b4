/** The package as it is published, but for its types. `dist` may be missing or old. */
import { execFile } from 'node:child_process'
import { copyFile, mkdir, readFile, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** @param folder becomes the package's own; what it depends on has to be found from there */
export async function buildPackage(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await copyFile(join(root, 'package.json'), join(folder, 'package.json'))
  const rolldown = join(root, 'node_modules/rolldown/bin/cli.mjs')
  const args = [rolldown, '--config', 'rolldown.config.ts', '--dir', join(folder, 'dist')]
  await promisify(execFile)(process.execPath, args, { cwd: root })
}

/** Puts the package into the `node_modules` of an app, with what it depends on and what the app names besides. */
export async function installPackage(app: string, besides: readonly string[]): Promise<void> {
  const folder = join(app, 'node_modules')
  await buildPackage(join(folder, 'fastify-oauth2client'))
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  for (const name of new Set([...Object.keys(dependencies), ...besides])) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(folder, name), 'junction')
  }
}
