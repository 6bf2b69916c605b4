/**
 * Runs each test once as it is, and then once more for each living mutant that it reached. All mutants are in the sources at
 * once, each behind a switch, so nothing is loaded again: a mutant costs what a test costs.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { TestRunner } from 'vitest'

const RESULTS = 'mutation-results.jsonl'
/** Tests of one file that a mutant meets before the next file's turn comes, and milliseconds that such a test may take. */
const TRIES = Number(process.env.MUTATION_TRIES)
const LONGEST = Number(process.env.MUTATION_LONGEST)
/** How often a mutant may be passed before it counts as one that never ends. */
const HITS = 100_000

// The sources know these objects by now, so they are kept, and only changed.
globalThis.__stryker__ ??= {}
const stryker = globalThis.__stryker__
stryker.mutantCoverage ??= { static: {}, perTest: {} }
stryker.ofRunner ??= { living: livingOnes(), tries: new Map(), told: new Set() }
const shared = stryker.ofRunner

function livingOnes() {
  const living = new Set(JSON.parse(readFileSync('mutation-sample.json', 'utf8')))
  const lines = existsSync(RESULTS) ? readFileSync(RESULTS, 'utf8').split('\n').filter(Boolean) : []
  for (const { id, status } of lines.map((line) => JSON.parse(line))) {
    if (status === 'killed' || status === 'timeout') living.delete(id)
  }
  return living
}

const tell = (line) => appendFileSync(RESULTS, `${JSON.stringify(line)}\n`)

function tellOnce(id, status) {
  if (!shared.living.has(id) || shared.told.has(`${status}${id}`)) return
  shared.told.add(`${status}${id}`)
  tell({ id, status })
}

export default class MutationRunner extends TestRunner {
  #queue = []
  #rounds = 0
  #active
  #started = 0

  async onBeforeRunTask(test) {
    await super.onBeforeRunTask?.(test)
    for (const id of Object.keys(stryker.mutantCoverage.static)) tellOnce(id, 'static')
    this.#queue = []
    // Read again before each round, so the rounds can be counted once the first one has shown what there is to do.
    test.repeats = test.concurrent ? 0 : { valueOf: () => this.#rounds }
    this.#rounds = 0
  }

  onBeforeTryTask(test, round) {
    super.onBeforeTryTask?.(test, round)
    if (round.repeats === 0) {
      stryker.currentTestId = test.id
      this.#started = performance.now()
      return
    }
    this.#active = this.#queue.shift()
    stryker.currentTestId = 'any'
    stryker.hitCount = 0
    stryker.hitLimit = HITS
    stryker.activeMutant = this.#active
  }

  async onAfterRetryTask(test, round) {
    await super.onAfterRetryTask?.(test, round)
    stryker.currentTestId = undefined
    stryker.activeMutant = undefined
    stryker.hitCount = undefined
    const { state, errors = [] } = test.result
    if (round.repeats === 0) {
      const reached = Object.keys(stryker.mutantCoverage.perTest[test.id] ?? {}).filter((id) => shared.living.has(id))
      for (const id of reached) tellOnce(id, 'reached')
      if (state === 'pass' && performance.now() - this.#started < LONGEST) {
        this.#queue = reached.filter((id) => (shared.tries.get(test.file.name + id) ?? 0) < TRIES)
      }
      this.#rounds = this.#queue.length
      return
    }
    const tries = test.file.name + this.#active
    shared.tries.set(tries, (shared.tries.get(tries) ?? 0) + 1)
    if (state === 'fail') {
      shared.living.delete(this.#active)
      const timeout = errors.some(({ message }) => /timed out|Hit count limit/.test(message))
      tell({ id: this.#active, status: timeout ? 'timeout' : 'killed', by: `${test.file.name}: ${test.name}` })
    }
    test.result.state = 'pass'
    test.result.errors = undefined
  }
}
