export interface FakeClock {
  /** Bound, so that it can be handed over as `clock: clock.now`. */
  readonly now: () => number
  advance(ms: number): void
}

/** A clock that only moves when told. It starts at the real time, so that real expiry dates stay plausible. */
export function fakeClock(start: number = Date.now()): FakeClock {
  let time = start
  return {
    now: () => time,
    advance(ms) {
      time += ms
    },
  }
}
