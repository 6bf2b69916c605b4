/** What a guard asks for, known by the guard alone: for API documentation, which sees hooks of routes and nothing of what made them. */

/** What a guard asks for, to be shown. */
export interface GuardClaim {
  /** Name of the client. */
  readonly client: string
  /** Besides those of the options. */
  readonly scopes: readonly string[]
}

const claims = new WeakMap<object, GuardClaim>()

export function noteClaim(guard: object, claim: GuardClaim): void {
  claims.set(guard, claim)
}

/** @param hook of a route; of anything but a guard that requires something there is nothing to tell */
export function guardClaim(hook: unknown): GuardClaim | undefined {
  return typeof hook === 'function' ? claims.get(hook) : undefined
}
