/** Mutation testing of a sample, in a copy of the project. See README.md. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const project = fileURLToPath(new URL('../..', import.meta.url))
const args = process.argv.slice(2)
const at = args.indexOf('--copy')
const kept = at < 0 ? undefined : args.splice(at, 2)[1]
const copy = kept ?? mkdtempSync(join(tmpdir(), 'mutation-'))

const run = (command, ...rest) => {
  const { status } = spawnSync(command, rest, { cwd: copy, stdio: 'inherit' })
  if (status !== 0) throw new Error(`${command} ${rest.join(' ')} ended with ${status}`)
}

try {
  for (const name of ['src', 'test', 'example-app', 'docs', 'README.md', 'tsconfig.json', 'vitest.config.ts']) {
    rmSync(join(copy, name), { recursive: true, force: true })
  }
  cpSync(project, copy, {
    recursive: true,
    filter: (path) => !/^(?:\.git|dist|coverage|node_modules)$/.test(relative(project, path).split(sep).at(-1)),
  })
  if (!existsSync(join(copy, 'node_modules/@stryker-mutator/instrumenter'))) {
    const { dependencies } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'))
    run('npm', 'ci', '--ignore-scripts')
    run('npm', 'install', '--no-save', ...Object.entries(dependencies).map(([name, version]) => `${name}@${version}`))
  }
  run(process.execPath, 'test/mutation/measure.mjs', ...args)
} finally {
  if (!kept) rmSync(copy, { recursive: true, force: true })
}
