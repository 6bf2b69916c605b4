/** The package as it is published: built and packed from the sources, in a folder of its own. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
/** Not part of a clone. */
const ELSEWHERE = /^(\.git|node_modules|dist|(bench|example-app)\/(node_modules|dist|data)|test\/\.[^/]*)$/

export interface Packed {
  /** Path of the tarball. */
  readonly tarball: string
  /** Paths of what is in it. */
  readonly files: readonly string[]
  /** Bytes of the tarball. */
  readonly size: number
  /** Bytes of what is in it. */
  readonly unpackedSize: number
  /** Puts what is in it where an app would have it, beside links to packages that are installed here. */
  installInto(folder: string, packages: readonly string[]): Promise<void>
  remove(): Promise<void>
}

export async function packPackage(): Promise<Packed> {
  const folder = await mkdtemp(join(tmpdir(), 'packed-'))
  const clone = join(folder, 'clone')
  await cp(root, clone, { recursive: true, filter: (file) => !ELSEWHERE.test(relative(root, file)) })
  await symlink(join(root, 'node_modules'), join(clone, 'node_modules'), 'junction')
  await run('npm', ['run', 'build'], { cwd: clone })
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: clone,
    maxBuffer: 2 ** 24,
  })
  const [packed] = Object.values(JSON.parse(stdout)) as {
    filename: string
    size: number
    unpackedSize: number
    files: { path: string }[]
  }[]
  if (!packed) throw new Error('npm packed nothing')
  const tarball = join(folder, packed.filename)
  return {
    tarball,
    files: packed.files.map(({ path }) => path),
    size: packed.size,
    unpackedSize: packed.unpackedSize,
    async installInto(target, packages) {
      const modules = join(target, 'node_modules')
      const home = join(modules, 'fastify-oauth2client')
      await mkdir(home, { recursive: true })
      await run('tar', ['-xzf', tarball, '-C', home, '--strip-components=1'])
      for (const name of packages) {
        await mkdir(dirname(join(modules, name)), { recursive: true })
        await symlink(join(root, 'node_modules', name), join(modules, name), 'junction')
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
