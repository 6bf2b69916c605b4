import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const src = fileURLToPath(new URL('../../src', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

/** What each room may import from, besides itself. Types count too: a type says what one knows about. */
const RULES: Record<string, readonly string[]> = {
  errors: [],
  'bounded-map': [],
  keys: ['errors'],
  provider: ['bounded-map', 'errors', 'credentials/record', 'telemetry'],
  // The types of what it tells about, and nothing that it could use.
  telemetry: ['errors', 'credentials/record', 'provider/http', 'provider/preset', 'storage/storage'],
  flows: ['errors', 'provider', 'credentials/record'],
  events: ['credentials/record', 'flows'],
  registration: ['errors', 'keys', 'provider', 'flows', 'events', 'storage/storage', 'telemetry'],
  xsrf: ['errors'],
  storage: ['bounded-map', 'errors', 'keys', 'credentials'],
  credentials: [
    'bounded-map',
    'errors',
    'events',
    'keys',
    'provider',
    'flows',
    'registration',
    'storage/storage',
    'telemetry/watch',
  ],
  session: ['bounded-map', 'errors', 'keys', 'provider', 'flows', 'credentials', 'storage', 'client'],
  guards: [
    'any-server',
    'errors',
    'events',
    'provider',
    'credentials/authorized-fetch',
    'credentials/challenge-from',
    'session',
    'client',
    'lookup',
    'registered-clients',
    'request',
  ],
  health: ['errors', 'provider', 'credentials/vault', 'registration/checks', 'client', 'clients'],
  routes: [
    'errors',
    'provider',
    'flows',
    'credentials',
    'session',
    'guards',
    'xsrf',
    'client',
    'lookup',
    'options',
    'request',
  ],
  // People, machines and API clients of one provider: over what a token source is, and nothing that keeps tokens.
  google: [
    'errors',
    'credentials/authorized-fetch',
    'credentials/credentials',
    'provider/http',
    'provider/libraries',
    'provider/scopes',
  ],
  installed: ['errors', 'provider', 'flows', 'registration/provider', 'credentials/credentials'],
  testing: [
    'any-server',
    'clients',
    'errors',
    'registered-clients',
    'storage/storage',
    'credentials/record',
    'provider/scopes',
  ],
  cli: [
    'errors',
    'keys',
    'storage',
    'provider',
    'flows',
    'registration/provider',
    'credentials',
    'installed',
    'google/well-known-file',
  ],
}

/** The only ones that know Fastify. */
const FASTIFY =
  /^(any-server|plugin|handlers|options|client|clients|lookup|request|request-credentials|index|health\/plugin|testing\/sign-in|testing\/dispatch)\.ts$|^(guards|routes|session)\//

/** Without comments, whose examples are other programs. */
const codeOf = (file: string) => readFileSync(join(src, file), 'utf8').replace(/^ *\/\*\*.*?\*\//gms, '')

function importsOf(file: string): string[] {
  const text = codeOf(file)
  return [...text.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'/gms)].map((match) => match[1] as string)
}

function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path.replace(/\.ts$/, '')
}

test('imports go one way', () => {
  for (const file of files) {
    const allowed = RULES[roomOf(file)]
    if (!allowed) continue
    for (const imported of importsOf(file).filter((name) => name.startsWith('.'))) {
      const target = relative(src, resolve(src, dirname(file), imported)).replace(/\.js$/, '')
      if (roomOf(target) === roomOf(file)) continue
      expect(
        allowed.some((room) => target === room || target.startsWith(`${room}/`)),
        `${file} imports ${target}`,
      ).toBe(true)
    }
  }
})

test('only the outer rooms know Fastify', () => {
  for (const file of files.filter((name) => !FASTIFY.test(name))) {
    expect(importsOf(file), file).not.toContain('fastify')
  }
})

test('nothing imports a package that users may not have, except lazily', () => {
  const required = Object.keys(JSON.parse(readFileSync(join(src, '../package.json'), 'utf8')).dependencies)
  for (const file of files) {
    const text = readFileSync(join(src, file), 'utf8')
    const values = [...text.matchAll(/^import (?!type\b)[^'"]*?from '([^'.][^']*)'/gms)].map(
      (match) => match[1] as string,
    )
    for (const name of values.filter((value) => !value.startsWith('node:') && value !== 'fastify')) {
      expect(required, `${file} imports ${name}`).toContain(name)
    }
  }
})

test('only the outermost file of the binary ends the process or says how it ends', () => {
  for (const file of files.filter((name) => name !== 'cli/bin.ts')) {
    expect(codeOf(file), file).not.toMatch(/\bprocess\s*\.\s*(exit|exitCode|abort|kill)\b/)
  }
})

test('src/index.ts re-exports and nothing else', () => {
  const text = codeOf('index.ts')
  expect(text.replace(/export (type )?(\{[^}]*\}|\*) from '[^']+'/g, '').trim()).toBe('')
})
