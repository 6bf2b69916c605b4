/**
 * Counts what our code asks of cryptography: functions of node:crypto, and methods of `crypto.subtle`. Session plugins and the
 * scripted provider live in this process too, so the stack says who asked: whoever is nearest to the call and is no library of ours.
 */
import nodeCrypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { promisify } from 'node:util'
import { add, type Tally } from './tally.js'
import { isOurDoing } from './who.js'

/** By name: `createHash`, `subtle.decrypt`. */
let calls: Tally = {}
/** What was opened, by its initialization vector, which no two sealed values have in common. */
let opened: string[] = []
let counting = false
/** Operations in other threads that are not done yet, whoever began them. */
const busy = new Set<Promise<unknown>>()
export const macrotask = promisify(setImmediate)

export function startCountingCrypto(): void {
  calls = {}
  opened = []
  counting = true
}

export function stopCountingCrypto(): { calls: Tally; openedAgain: number } {
  counting = false
  return { calls, openedAgain: opened.length - new Set(opened).size }
}

/** Resolves when nothing is under way in this process any more but what waits for a network or a timer. */
export async function quiet(): Promise<void> {
  for (let turns = 0; turns < 10; turns += 1) {
    await macrotask()
    if (busy.size === 0) continue
    turns = 0
    await Promise.allSettled(busy)
  }
}

function note(name: string, args: readonly unknown[]): void {
  if (!counting || !isOurDoing(true)) return
  add(calls, name)
  const iv = name === 'subtle.decrypt' ? (args[0] as { iv?: unknown }).iv : name === 'createDecipheriv' ? args[2] : null
  if (iv instanceof Uint8Array) opened.push(Buffer.from(iv).toString('hex'))
}

/** @param holder has the member from now on, counted, also where it was inherited */
function count(holder: object, member: string, name: string): void {
  const original = Reflect.get(holder, member)
  const counted = new Proxy(original, {
    apply(target, self, args) {
      note(name, args)
      const result = Reflect.apply(target, self, args)
      if (result instanceof Promise) {
        const running = result.finally(() => busy.delete(running))
        // Whoever asked hears of a failure; we only wait for the end.
        running.catch(() => {})
        busy.add(running)
      }
      return result
    },
  })
  Reflect.set(holder, member, counted)
}

for (const [member, { value, writable }] of Object.entries(Object.getOwnPropertyDescriptors(nodeCrypto))) {
  if (writable && typeof value === 'function' && /^[a-z]/.test(member)) count(nodeCrypto, member, member)
}
syncBuiltinESMExports()
for (const member of Object.getOwnPropertyNames(Object.getPrototypeOf(crypto.subtle))) {
  if (member !== 'constructor') count(crypto.subtle, member, `subtle.${member}`)
}
for (const member of ['getRandomValues', 'randomUUID']) count(crypto, member, member)
