/**
 * The time of the test server. `oidc-provider` takes its own from the system, so everything that has a time in it is translated
 * on its way into the storage, out of it, and out of the house: what has passed by the test's clock has passed for the server.
 */

/** Members of what is stored and of what is told, in seconds since the epoch. */
const TIMES = ['iat', 'exp', 'nbf', 'iiat', 'auth_time', 'authTime', 'loginTs', 'consumed'] as const

export class ServerTime {
  readonly #clock: (() => number) | undefined
  readonly #skew: () => number

  constructor(clock?: () => number, skew = () => 0) {
    this.#clock = clock
    this.#skew = skew
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return (this.#clock ?? Date.now)() + this.#skew()
  }

  /** Seconds by which it is ahead of the system's. */
  get offset(): number {
    return ((this.#clock === undefined ? 0 : this.#clock() - Date.now()) + this.#skew()) / 1_000
  }

  /** From the system's time to this one. Never later than now. */
  told<T extends object>(what: T): T {
    return shifted(what, this.offset)
  }

  /** The same for an ID token: by the machine's clock, by which relying parties judge it, but for when the person signed in. */
  toldInIdToken<T extends object>(claims: T): T {
    return { ...shifted(claims, this.#skew() / 1_000), ...authTime(this.told(claims)) }
  }

  /** The other way round. */
  heard<T extends object>(what: T): T {
    return shifted(what, -this.offset)
  }
}

const authTime = (claims: { auth_time?: unknown }) =>
  claims.auth_time === undefined ? {} : { auth_time: claims.auth_time }

function shifted<T extends object>(what: T, seconds: number): T {
  if (seconds === 0) return what
  const copy = { ...what } as Record<string, unknown>
  for (const name of TIMES) {
    const value = copy[name]
    if (typeof value === 'number') copy[name] = Math.floor(value + seconds)
  }
  return copy as T
}
