import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const src = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    // The example app imports the package by its name; tests run it against the sources, without a build.
    alias: [
      { find: /^fastify-oauth2client$/, replacement: src('index.ts') },
      { find: /^fastify-oauth2client\/providers$/, replacement: src('provider/presets/index.ts') },
      { find: /^fastify-oauth2client\/flows$/, replacement: src('flows/index.ts') },
      { find: /^fastify-oauth2client\/credentials$/, replacement: src('credentials/index.ts') },
      { find: /^fastify-oauth2client\/storage\/(.+)$/, replacement: src('storage/$1.ts') },
      { find: /^fastify-oauth2client\/google$/, replacement: src('google/index.ts') },
      { find: /^fastify-oauth2client\/installed$/, replacement: src('installed/index.ts') },
      { find: /^fastify-oauth2client\/xsrf$/, replacement: src('xsrf/token.ts') },
      { find: /^fastify-oauth2client\/testing$/, replacement: src('testing/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/helpers/signing-keys.ts',
    // Most of them wait for a server most of the time.
    maxWorkers: '100%',
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
