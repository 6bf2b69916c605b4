/** The JavaScript of the package, in few files: each one that is loaded has its price. The types are the compiler's. */
import { readFileSync } from 'node:fs'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'rolldown'

const { exports, bin, dependencies, peerDependencies } = JSON.parse(
  readFileSync(new URL('package.json', import.meta.url), 'utf8'),
) as {
  exports: Record<string, string | { default: string }>
  bin: Record<string, string>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}

/** What can be imported or run, by the place that package.json says, which is that of its source too. */
const entries = [...Object.values(exports), ...Object.values(bin)]
  .map((target) => (typeof target === 'string' ? target : target.default))
  .filter((target) => target.endsWith('.js'))
  .map((target) => target.replace(/^\.\/dist\/|\.js$/g, ''))

/** What stores, presets, Google's credentials and tests need too: they do not load the client with it. */
const BASE = [
  'bounded-map',
  'clients',
  'errors',
  'keys/',
  'credentials/authorized-fetch',
  'credentials/challenge-from',
  'provider/http',
  'provider/json',
  'provider/libraries',
  'provider/presets/google',
  'provider/presets/shared',
  'provider/scopes',
  'xsrf/token',
]
/** Everything that does not know Fastify. */
const CLIENT = [
  'provider/',
  'registration/',
  'flows/',
  'credentials/',
  'events',
  'health/health',
  'telemetry/harmless',
  'telemetry/watched-fetch',
  'telemetry/watched-store',
]

const src = fileURLToPath(new URL('src/', import.meta.url))
const nameOf = (file: string) => file.slice(src.length).replaceAll(sep, '/').replace(/\.ts$/, '')
const among = (places: readonly string[]) => (file: string) =>
  file.startsWith(src) &&
  places.some((place) => (place.endsWith('/') ? nameOf(file).startsWith(place) : nameOf(file) === place))

export default defineConfig({
  input: Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`])),
  platform: 'node',
  external: [...Object.keys(dependencies), ...Object.keys(peerDependencies)].map((name) => new RegExp(`^${name}(/|$)`)),
  output: {
    dir: 'dist',
    cleanDir: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    sourcemap: true,
    // They are published beside.
    sourcemapExcludeSources: true,
    // All others are in the types and in the sources.
    comments: { annotation: true, jsdoc: false, legal: false },
    codeSplitting: {
      groups: [
        { name: 'base', test: among(BASE), priority: 1 },
        { name: 'client', test: (file) => among(CLIENT)(file) && !among(['provider/presets/'])(file) },
      ],
    },
  },
})
