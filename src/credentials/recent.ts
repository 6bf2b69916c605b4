/** What was read or written a moment ago, and what is being read: for guards that make do with that instead of reading. */
import { BoundedMap } from '../bounded-map.js'
import type { Snapshot } from './vault.js'

/** By both clocks: one may be set back, the other may stand still while the machine sleeps. */
interface Moment {
  readonly clock: number
  readonly monotonic: number
}

interface Remembered {
  /** Nothing where it was removed: what was written before that may still be reported. */
  readonly snapshot: Snapshot | undefined
  readonly generation: number
  readonly at: Moment
}

/** A read that is under way. */
export interface Read {
  readonly id: string
  readonly snapshot: Promise<Snapshot | undefined>
  /** When it began: what it finds is as old as that. */
  readonly at: Moment
  /** Whether it is for somebody who is about to be refused, and gets an error where memory would do for others. */
  readonly certain: boolean
}

export interface RecentOptions {
  /** Seconds for which what was read last may be used instead of reading. */
  readonly cacheMaxAge: number
  readonly clock: () => number
  readonly monotonic: () => number
}

/** Milliseconds within which others join a read. One that never ends must not keep everybody. */
const JOINED_FOR = 500
/** Users; twice as many at most. */
const KEPT = 5_000

/** By the ids of vaults. Snapshots are without refresh tokens. */
export class Recent {
  readonly #options: RecentOptions
  readonly #remembered = new BoundedMap<string, Remembered>(KEPT)
  /** The read that may be remembered and joined: one that began before a write of ours may not. */
  readonly #reads = new Map<string, Read>()

  constructor(options: RecentOptions) {
    this.#options = options
  }

  /** What was read last, if that was no longer ago than it may be. */
  recall(id: string): Snapshot | undefined {
    const { cacheMaxAge, clock, monotonic } = this.#options
    if (cacheMaxAge === 0) return undefined
    const known = this.#remembered.get(id)
    if (!known?.snapshot) return undefined
    const maximum = cacheMaxAge * 1000
    const elapsed = Math.abs(clock() - known.at.clock)
    return elapsed < maximum && monotonic() - known.at.monotonic < maximum ? known.snapshot : undefined
  }

  /** What was read last, however long ago. */
  last(id: string): Snapshot | undefined {
    return this.#remembered.get(id)?.snapshot
  }

  /** The read that whoever makes do with what was read a moment ago can as well wait for. */
  joinable(id: string): Read | undefined {
    const { cacheMaxAge, monotonic } = this.#options
    const read = cacheMaxAge > 0 ? this.#reads.get(id) : undefined
    return read && !read.certain && monotonic() - read.at.monotonic < JOINED_FOR ? read : undefined
  }

  began(id: string, snapshot: Read['snapshot'], certain: boolean): Read {
    const read = { id, snapshot, at: this.#now(), certain }
    this.#reads.set(id, read)
    return read
  }

  /** Remembers what a read found, unless something was written meanwhile. */
  found(read: Read, snapshot: Snapshot | undefined): void {
    if (this.#reads.get(read.id) === read) this.#remember(read.id, snapshot, snapshot?.generation, read.at)
  }

  ended(read: Read): void {
    if (this.#reads.get(read.id) === read) this.#reads.delete(read.id)
  }

  /** Remembers what this process wrote, whatever is being read meanwhile, unless it wrote something newer. */
  wrote(id: string, snapshot: Snapshot | undefined, generation = snapshot?.generation ?? 0): void {
    this.#reads.delete(id)
    if ((this.#remembered.get(id)?.generation ?? 0) <= generation) this.#remember(id, snapshot, generation)
  }

  forget(id: string): void {
    this.#reads.delete(id)
    this.#remembered.delete(id)
  }

  #remember(id: string, snapshot: Snapshot | undefined, generation: number | undefined, at = this.#now()): void {
    if (generation === undefined) this.#remembered.delete(id)
    else this.#remembered.set(id, { snapshot: snapshot && { ...snapshot, remembered: true }, generation, at })
  }

  #now(): Moment {
    return { clock: this.#options.clock(), monotonic: this.#options.monotonic() }
  }
}
