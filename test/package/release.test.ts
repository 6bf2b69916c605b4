/** A version is published only if everything that names it names the same. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const home = 'https://github.com/example/package'
const folders: string[] = []
afterAll(() => folders.forEach((folder) => void rmSync(folder, { recursive: true })))

const CHANGELOG = `# Changelog

## [Unreleased]

## [1.2.0] - 2026-01-31

### Added

- A thing.

## [1.1.0] - 2026-01-01

### Fixed

- Another.

[Unreleased]: ${home}/compare/v1.2.0...HEAD
[1.2.0]: ${home}/compare/v1.1.0...v1.2.0
[1.1.0]: ${home}/releases/tag/v1.1.0
`

function check(tag: string, options: { version?: string; locked?: string; changelog?: string } = {}) {
  const { version = '1.2.0', locked = version, changelog = CHANGELOG } = options
  const folder = mkdtempSync(join(tmpdir(), 'release-'))
  folders.push(folder)
  const write = (name: string, content: unknown) => writeFileSync(join(folder, name), JSON.stringify(content))
  write('package.json', { version, repository: { url: `git+${home}.git` } })
  write('package-lock.json', { version: locked, packages: { '': { version: locked } } })
  writeFileSync(join(folder, 'CHANGELOG.md'), changelog)
  const args = [join(root, '.ci/release.mjs'), tag]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  return { status, stdout: stdout.trim(), problems: stderr.trim() }
}

test('what agrees is let through, with its notes', () => {
  expect(check('v1.2.0')).toEqual({ status: 0, stdout: '### Added\n\n- A thing.', problems: '' })
})

test.each([
  ['a tag of another version', check('v1.3.0'), 'the tag is v1.3.0, and package.json says 1.2.0'],
  ['no tag', check(''), 'the tag is missing'],
  ['a tag without its letter', check('1.2.0'), 'the tag is 1.2.0'],
  ['a lockfile of before', check('v1.2.0', { locked: '1.1.0' }), 'package-lock.json says 1.1.0'],
  ['a version without a section', check('v1.3.0', { version: '1.3.0' }), 'does not begin with "## [1.3.0]'],
  ['a section without a date', check('v1.2.0', edited(' - 2026-01-31', '')), 'does not begin with "## [1.2.0]'],
  ['a section that says nothing', check('v1.2.0', edited('### Added\n\n- A thing.\n', '')), 'says nothing about 1.2.0'],
  ['changes that are left over', check('v1.2.0', edited('[Unreleased]\n', '[Unreleased]\n\n- New.\n')), 'not in 1.2.0'],
  ['a version without a link', check('v1.2.0', edited(/\n\[1\.2\.0\]: .*/, '')), 'no link for [1.2.0]'],
])('%s is refused', (_, outcome, problem) => {
  expect(outcome.status).toBe(1)
  expect(outcome.stdout).toBe('')
  expect(outcome.problems).toContain(problem)
})

test('our own changelog is in that form, and becomes the version that package.json says', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { stderr } = spawnSync(process.execPath, ['.ci/release.mjs', `v${version}`], { cwd: root, encoding: 'utf8' })
  // Before a release it is only its section that is missing, or changes that are to go there.
  const open = /^CHANGELOG\.md (has changes that are not in|does not begin with)/
  expect(stderr.split('\n').filter((line) => line !== '' && !open.test(line))).toEqual([])
})

function edited(from: string | RegExp, to: string): { changelog: string } {
  const changelog = CHANGELOG.replace(from, to)
  expect(changelog).not.toBe(CHANGELOG)
  return { changelog }
}
