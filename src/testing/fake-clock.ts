/** Time that passes when a test says so: {@link fakeClock} makes one. */
export interface FakeClock {
  /** Milliseconds since the epoch; bound, so that it can be handed over as `clock: clock.now`. */
  readonly now: () => number
  /** Lets so many milliseconds pass. */
  advance(ms: number): void
}

/**
 * A clock that only moves when told, for the `clock` of the plugin and of `startAuthorizationServer`: handed to both, they move
 * together.
 *
 * @param start milliseconds since the epoch. Default: the real time, by which real cookies and certificates are judged.
 *
 * @example
 * ```ts
 * import { fakeClock, startAuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * const clock = fakeClock()
 * const server = await startAuthorizationServer({ clock: clock.now })
 * // … and the plugin's option is the same: clock: clock.now …
 * clock.advance(3_600_000)
 * // … access tokens have expired
 * server.clockSkew = 300_000
 * // … and now the server's clock is five minutes ahead of the app's
 * ```
 */
export function fakeClock(start: number = Date.now()): FakeClock {
  let time = start
  return {
    now: () => time,
    advance(ms) {
      time += ms
    },
  }
}
