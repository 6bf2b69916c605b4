/**
 * Inputs that nobody thought of. How many there are for all properties together is set by `FUZZ_INPUTS`; a failure says with
 * which `FUZZ_SEED` and `FUZZ_PATH` the same input comes again.
 */
import fc, { type Arbitrary } from 'fast-check'
import { onTestFailed, test } from 'vitest'

/** For all properties together. */
const INPUTS = Number(process.env.FUZZ_INPUTS ?? 3_000)
/** Milliseconds. Nothing here waits for anybody, so whatever takes longer hangs. */
const DEADLINE = 10_000

/** What each property gets of a thousand inputs: many where they cost little and come straight from strangers. */
export const SHARES = {
  'return URLs': 240,
  'client secrets files': 100,
  'challenges of an API': 90,
  'serialized credentials': 80,
  'credentials of Python programs': 50,
  'sealed values': 64,
  'XSRF tokens': 40,
  'stored records': 15,
  'records of other writers': 15,
  'authorize queries': 50,
  'callback queries': 70,
  cookies: 20,
  'requests to a guard': 30,
  'token responses': 40,
  'ID tokens': 12,
  'metadata and keys': 20,
  'answers to a refresh': 12,
  'logout tokens': 25,
  'posted answers': 15,
  'forms that are kept': 12,
} as const

export type Property = keyof typeof SHARES

/** How many inputs a property is tried with. */
export function inputsOf(name: Property): number {
  return Math.max(1, Math.round((INPUTS * SHARES[name]) / 1_000))
}

/** A test that no input of `arbitrary` makes `check` reject or hang. */
export function fuzz<T>(name: Property, arbitrary: Arbitrary<T>, check: (input: T) => unknown): void {
  const numRuns = inputsOf(name)
  test(`${name}: ${numRuns} inputs`, { timeout: 900_000 }, async () => {
    const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
    onTestFailed(() => console.error(`Again with: FUZZ_SEED=${seed} FUZZ_PATH=… (as said above) FUZZ_INPUTS=${INPUTS}`))
    await fc.assert(
      fc.asyncProperty(arbitrary, (input) => inTime(async () => check(input))),
      { numRuns, seed, ...(process.env.FUZZ_PATH ? { path: process.env.FUZZ_PATH } : {}) },
    )
  })
}

async function inTime(run: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still at it after ${DEADLINE} ms`)), DEADLINE)
  })
  try {
    await Promise.race([run(), late])
  } finally {
    clearTimeout(timer)
  }
}
