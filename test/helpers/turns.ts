/**
 * Operations that wait for a turn, so that fast-check decides what happens when. The test file has to replace the clock:
 *
 *     vi.mock(import('node:timers/promises'), async (original) => (await import('../helpers/turns.js')).withoutTime(await original()))
 */
import { promisify } from 'node:util'
import fc, { type Arbitrary, type Scheduler } from 'fast-check'
import { vi } from 'vitest'

// Not from node:timers/promises, which is being replaced with the help of this file.
const macrotask = promisify(setImmediate)

let scheduler: Scheduler | undefined
/** Operations that are under way and need no turn to end. */
const busy = new Set<Promise<unknown>>()

/** Whatever waits for time to pass waits for a turn instead. */
export function withoutTime<T extends { setTimeout: unknown }>(timers: T): T {
  const setTimeout = async (_ms?: number, value?: unknown) => {
    await turn('wait')
    return value
  }
  return { ...timers, setTimeout }
}

/** Resolves when it is its turn: at once while nothing is interleaved. */
export async function turn(what: string): Promise<void> {
  await scheduler?.schedule(Promise.resolve(), what)
}

/** When an operation takes effect is one thing, and when it is known is another. */
export async function inTurn<T>(what: string, use: () => Promise<T>): Promise<T> {
  await turn(`${what}: now`)
  try {
    return await counted(use)
  } finally {
    await turn(`${what}: known`)
  }
}

/** Starts all operations and lets everything in them happen in an order of the scheduler's choice. */
export async function interleave<T>(chosen: Scheduler, operations: readonly (() => Promise<T>)[]): Promise<T[]> {
  scheduler = chosen
  try {
    return await chosen.waitFor(
      Promise.all(
        operations.map(async (operation, index) => {
          await turn(`begin ${index}`)
          return operation()
        }),
      ),
    )
  } finally {
    scheduler = undefined
  }
}

/** A scheduler for `interleave`. */
export function order(): Arbitrary<Scheduler> {
  return fc.scheduler({
    async act(next) {
      await next()
      await everybodyWaits()
    },
  })
}

/** Resolves when everybody waits for a turn: only then is there a choice whose it is. */
async function everybodyWaits(): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet += 1) {
    await macrotask()
    if (busy.size === 0) continue
    quiet = 0
    await Promise.allSettled(busy)
  }
}

function counted<T>(use: () => Promise<T>): Promise<T> {
  const operation = use().finally(() => busy.delete(operation))
  busy.add(operation)
  return operation
}

// Records are sealed and opened by other threads.
for (const name of ['encrypt', 'decrypt', 'importKey'] as const) {
  const original = crypto.subtle[name].bind(crypto.subtle) as (...args: unknown[]) => Promise<never>
  vi.spyOn(crypto.subtle, name).mockImplementation((...args: unknown[]) => counted(() => original(...args)))
}
