/**
 * How the last flow of this browser ended, for a minute: what keeps a guard from sending people round in circles. A cookie
 * of its own, because a session that does not come back is the very thing it has to notice.
 */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { KeyRing } from '../keys/key-ring.js'
import type { SignInRequirements } from '../provider/authentication.js'
import type { ScopeSet } from '../provider/scopes.js'
import type { CookieJar } from './cookies.js'

/** What a flow was to show of the sign-in. */
export interface StepUp {
  /** Names the requirements. */
  readonly asked: string
  /** How many there were in a row, this one included. */
  readonly round: number
}

/** What ended. */
export interface Outcome {
  /** Absent where they did not fit: then it may have been about any. */
  readonly scopes?: readonly string[] | undefined
  /** The code of the error it ended with; absent when it succeeded. */
  readonly code?: string | undefined
  readonly stepUp?: StepUp | undefined
  /** Whether a guard saw its effect. Whether an API takes the sign-in for what it asked for is another matter. */
  readonly seen?: true
  /** Milliseconds since the epoch. */
  readonly endedAt: number
}

/** Seconds. */
const LIFETIME = 60
/** An API that thinks of something else each time has had enough then. */
const MAXIMUM_ROUNDS = 3

export class OutcomeCookie {
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number
  readonly #client: string
  readonly #name: string
  /** As browsers know it. */
  readonly #fullName: string

  constructor(keys: KeyRing, cookies: CookieJar, clock: () => number, client: string) {
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
    this.#client = client
    this.#name = `ended.${client}`
    this.#fullName = cookies.prefix + this.#name
  }

  async save(reply: FastifyReply, outcome: Omit<Outcome, 'endedAt'>): Promise<void> {
    await this.#write(reply, { ...outcome, endedAt: this.#clock() })
  }

  /** The last outcome, if it is recent. Costs nothing while there is none. */
  async read(request: FastifyRequest): Promise<Outcome | undefined> {
    const value = this.#cookies.get(request, this.#name)
    if (!value) return undefined
    try {
      const outcome: Outcome = JSON.parse(this.#keys.open('outcome', [this.#client], value))
      return this.#clock() - outcome.endedAt < LIFETIME * 1000 ? outcome : undefined
    } catch {
      return undefined
    }
  }

  /** Whether any flow ended a moment ago, which has to be looked at. */
  isThere(request: FastifyRequest): boolean {
    return Boolean(this.#cookies.all(request)[this.#fullName])
  }

  /** Forgets the outcome once its effect was seen, so that losing the credentials later is not taken for a loop. */
  async settle(
    request: FastifyRequest,
    reply: FastifyReply,
    scopes: ScopeSet,
    granted: readonly string[],
  ): Promise<void> {
    if (!this.isThere(request)) return
    const outcome = await this.read(request)
    if (outcome?.code !== undefined && !scopes.covers(granted, outcome.scopes ?? [])) return
    if (!outcome?.stepUp) this.clear(request, reply)
    else if (!outcome.seen) await this.#write(reply, { ...outcome, seen: true })
  }

  /** The step-up that would come next. */
  async nextStepUp(request: FastifyRequest, required: SignInRequirements): Promise<StepUp> {
    const before = (await this.read(request))?.stepUp
    return { asked: nameOf(required), round: (before?.round ?? 0) + 1 }
  }

  /** Forgets a step-up that was all that was needed, so that the next one is a first one. */
  async settleStepUp(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if ((await this.read(request))?.stepUp) this.clear(request, reply)
  }

  clear(request: FastifyRequest, reply: FastifyReply): void {
    if (this.isThere(request)) this.#cookies.clear(reply, this.#name)
  }

  async #write(reply: FastifyReply, { scopes, ...outcome }: Outcome): Promise<void> {
    const value = this.#seal({ scopes, ...outcome })
    // Scopes can be many; without them the cookie still says that something ended.
    this.#cookies.set(reply, this.#name, value.length <= 2_000 ? value : this.#seal(outcome), LIFETIME)
  }

  #seal(outcome: Outcome): string {
    return this.#keys.seal('outcome', [this.#client], JSON.stringify(outcome))
  }
}

/** Whether a step-up would only repeat what ended a moment ago. */
export function isRepeated({ stepUp }: Outcome, required: SignInRequirements): boolean {
  return stepUp !== undefined && (stepUp.asked === nameOf(required) || stepUp.round >= MAXIMUM_ROUNDS)
}

function nameOf({ acrValues = [], maxAge }: SignInRequirements): string {
  return createHash('sha256')
    .update(JSON.stringify([maxAge, acrValues]))
    .digest('base64url')
    .slice(0, 16)
}
