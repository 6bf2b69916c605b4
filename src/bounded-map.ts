/**
 * A map that forgets: the last `kept` keys that were set are there, and never more than twice as many. Values are not undefined.
 *
 * Two maps take turns. One alone, of which the oldest key is deleted each time, walks over all that were deleted before it: with ten
 * thousand keys that takes longer than what is saved by knowing them.
 */
export class BoundedMap<Key, Value> {
  readonly #kept: number
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()

  constructor(kept: number) {
    this.#kept = kept
  }

  get isEmpty(): boolean {
    return this.#young.size === 0 && this.#old.size === 0
  }

  get(key: Key): Value | undefined {
    return this.#young.get(key) ?? this.#old.get(key)
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#kept && !this.#young.has(key)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  delete(key: Key): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }
}
