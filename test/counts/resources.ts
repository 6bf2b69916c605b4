/** Counts what Node keeps for our code to come back to: promises and timers, as async_hooks tell of them. */
import { createHook, executionAsyncId } from 'node:async_hooks'
import { add, type Tally } from './tally.js'
import { isOurDoing } from './who.js'

let resources: Tally = {}
let everybodys = false
const hook = createHook({
  init(_id, type) {
    // Whose a promise is, its stack does not tell: what is called synchronously is all ours.
    if (everybodys || (type !== 'PROMISE' && isOurDoing(false))) add(resources, type)
  },
})

/** What was made while `run` ran, until it returned. */
export function resourcesOf<T>(run: () => T): { returned: T; resources: Tally } {
  resources = {}
  everybodys = true
  hook.enable()
  try {
    return { returned: run(), resources }
  } finally {
    hook.disable()
    everybodys = false
  }
}

/** Timers and the like that our code made until `run` was over. Promises are not in it. */
export async function resourcesUntil(run: () => Promise<void>): Promise<Tally> {
  resources = {}
  hook.enable()
  try {
    await run()
    return resources
  } finally {
    hook.disable()
  }
}

/** Whether every promise of this process has an id, which is what hooks and, in many versions of Node, AsyncLocalStorage cost. */
export async function promisesAreTracked(): Promise<boolean> {
  const outside = executionAsyncId()
  const inside = await Promise.resolve().then(() => executionAsyncId())
  return inside !== outside
}
