import type { Session } from 'fastify'

// Taken before a test can install fake timers: the delay has to be real, as that of a database is.
const realSetTimeout = setTimeout

type Operation = 'get' | 'set' | 'destroy'
type Done = (error?: unknown) => void
type Got = (error: unknown, session?: Session | null) => void

/**
 * A session store as a network database behaves: answers come later, values come back as copies, and it can be down.
 * The memory store that comes with @fastify/session hides mistakes with all three.
 */
export class SlowSessionStore {
  gets = 0
  sets = 0
  destroys = 0
  /** Simulates an outage: of everything, or of one operation. */
  failing: boolean | Operation = false
  delay: number
  /** Session id -> JSON. */
  readonly records = new Map<string, string>()

  constructor(delay = 15) {
    this.delay = delay
  }

  get(id: string, done: Got): void {
    this.gets += 1
    this.#answer('get', done, () => {
      const record = this.records.get(id)
      done(null, record === undefined ? null : JSON.parse(record))
    })
  }

  set(id: string, session: Session, done: Done): void {
    this.sets += 1
    // Serialized now, stored later: what a real client sends is what the session held at this moment.
    const record = JSON.stringify(session)
    this.#answer('set', done, () => {
      this.records.set(id, record)
      done()
    })
  }

  destroy(id: string, done: Done): void {
    this.destroys += 1
    this.#answer('destroy', done, () => {
      this.records.delete(id)
      done()
    })
  }

  #answer(operation: Operation, done: (error: unknown) => void, succeed: () => void): void {
    realSetTimeout(() => {
      if (this.failing === true || this.failing === operation) done(new Error('session store is down'))
      else succeed()
    }, this.delay)
  }
}
