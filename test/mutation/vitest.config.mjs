/** The project's own set-up, in one thread that keeps what it loaded. */
import { resolve } from 'node:path'
import { BaseSequencer } from 'vitest/node'
import base from '../../vitest.config.ts'
import { NEVER } from './suites.mjs'

const tests = process.env.MUTATION_TESTS.split(' ')

/** As the suites list them: what is likely to notice comes first, and the first failure ends a run. */
class Sequencer extends BaseSequencer {
  async sort(files) {
    const place = ({ moduleId }) => tests.findIndex((test) => moduleId.includes(`/${test.replace(/\*.*/, '')}`))
    return files.sort((a, b) => place(a) - place(b))
  }
}

export default {
  ...base,
  root: resolve(import.meta.dirname, '../..'),
  test: {
    ...base.test,
    pool: 'threads',
    isolate: false,
    maxWorkers: 1,
    runner: resolve(import.meta.dirname, 'runner.mjs'),
    testTimeout: 10_000,
    hookTimeout: 10_000,
    // What a mutant leaves behind has nobody to catch it.
    dangerouslyIgnoreUnhandledErrors: true,
    setupFiles: [resolve(import.meta.dirname, 'keys.mjs')],
    include: tests,
    testNamePattern: new RegExp(process.env.MUTATION_ONLY),
    sequence: { sequencer: Sequencer },
    exclude: NEVER,
  },
}
