/** What `npm install` brings for the smallest app of each kind. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { markdown } from '../../lib/markdown.mjs'
import { checkStopped } from '../../lib/stop.mjs'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../..', import.meta.url))
const OURS = 'fastify-oauth2client'
const SESSION = ['fastify', '@fastify/cookie', '@fastify/session']

/** By title: which packages an app of that kind has to name. */
const APPS = {
  'fastify, cookie, session': SESSION,
  'the same and this package': [...SESSION, OURS],
  'the same and `@fastify/oauth2`': [...SESSION, '@fastify/oauth2'],
  'fastify, secure-session, `@fastify/passport`, `passport-oauth2`': [
    'fastify',
    '@fastify/secure-session',
    '@fastify/passport',
    'passport-oauth2',
  ],
  'fastify, `better-auth`': ['fastify', 'better-auth'],
  'express, `express-openid-connect`': ['express', 'express-openid-connect'],
}

export async function footprint() {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  try {
    const versions = {
      ...(await versionsIn('devDependencies', root)),
      ...(await versionsIn('dependencies', root, 'bench')),
    }
    const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
      cwd: root,
    })
    versions[OURS] = `file:${join(folder, `${OURS}-${JSON.parse(stdout)[0].version}.tgz`)}`
    const results = []
    for (const [title, names] of Object.entries(APPS)) {
      checkStopped()
      const app = join(folder, String(results.length))
      await install(app, Object.fromEntries(names.map((name) => [name, versions[name]])))
      results.push({ title, ...(await sizeOf(app)) })
      process.stderr.write(`footprint: ${title}\n`)
    }
    return results
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function versionsIn(member, ...path) {
  return JSON.parse(await readFile(join(...path, 'package.json'), 'utf8'))[member]
}

async function install(folder, dependencies) {
  await mkdir(folder)
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder })
}

async function sizeOf(folder) {
  const modules = join(folder, 'node_modules')
  const { stdout } = await run('du', ['-sk', modules])
  const entries = await readdir(modules, { recursive: true, withFileTypes: true })
  const { packages } = JSON.parse(await readFile(join(modules, '.package-lock.json'), 'utf8'))
  return {
    megabytes: Number.parseInt(stdout, 10) / 1_024,
    packages: Object.keys(packages).length,
    files: entries.filter((entry) => entry.isFile()).length,
  }
}

export const footprintTable = (results) =>
  markdown(
    ['app', 'MB', 'packages', 'files'],
    results.map(({ title, megabytes, packages, files }) => [title, megabytes.toFixed(1), packages, files]),
  )
