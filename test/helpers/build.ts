/** The package as it is published, but for its types. `dist` may be missing or old. */
import { execFile } from 'node:child_process'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
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
