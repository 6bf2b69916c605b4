/**
 * Pending authorization requests: one sealed cookie each, named after its state. Nothing is kept on the server, so nothing
 * has to be found, locked or cleaned up there, and any number of tabs can be on their way at once.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { OptionError } from '../errors.js'
import type { AuthorizationRequest } from '../flows/authorization-code.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { SignInRequirements } from '../provider/authentication.js'
import type { CookieJar } from './cookies.js'
import type { StepUp } from './outcome-cookie.js'

/** An authorization request that is on its way, with everything needed to judge the answer. */
export interface PendingFlow extends AuthorizationRequest {
  /** Name of the client that started it. */
  readonly client: string
  /** A sign-in says who somebody is; a grant adds to the credentials of somebody already known. */
  readonly intent: 'sign-in' | 'grant'
  readonly returnUrl: string
  /** What the form is called that the person posted, and is to see again afterwards. */
  readonly form?: string
  /** The random value in the session that started it. */
  readonly binding: string
  /** Whether that value was new: a request of another tab may then have put another one in its place. */
  readonly fresh: boolean
  /** The app's user at the start, where the app has users of its own. */
  readonly user?: string
  /** The identity that a grant is for. */
  readonly identity?: string
  /** Scopes that the person is asked for the sake of; the rest comes along. */
  readonly needed: readonly string[]
  /** Whether the account is to be added to those of the user. */
  readonly another?: boolean
  /** Whether consent was already asked for a second time, for want of a refresh token. */
  readonly reconsented?: boolean
  /** Whether the provider was asked to answer without showing anything: `prompt=none`. */
  readonly silent?: boolean
  /** Whether another site may have had it begun: then nothing new is connected without the person's word. */
  readonly crossSite?: boolean
  /** Present when it asks for a sign-in of a certain kind, besides what the options always ask for. */
  readonly stepUp?: StepUp
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

type PackedFlow = Omit<PendingFlow, 'needed'> & { readonly needed: readonly (string | number)[] }

/** Milliseconds that a person may take at the provider. */
export const FLOW_LIFETIME = 600_000
const MAXIMUM_FLOWS = 5
const MAXIMUM_BYTES = 6_144
/** Each costs a header, and where somebody planted hundreds, a response with all of them would never arrive. */
const MAXIMUM_CLEARED = 10
const MAXIMUM_COOKIE = 3_900

export class FlowCookies {
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number

  constructor(keys: KeyRing, cookies: CookieJar, clock: () => number) {
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
  }

  /**
   * Puts a flow into a cookie of its own, dropping the oldest ones where there are too many.
   *
   * @throws {OptionError} when there are more scopes than a cookie can hold
   */
  async save(request: FastifyRequest, reply: FastifyReply, flow: PendingFlow): Promise<void> {
    let value = this.#seal(flow)
    // A return URL is a convenience; a cookie that the browser drops is the end of the flow.
    if (value.length > MAXIMUM_COOKIE) value = this.#seal({ ...flow, returnUrl: '' })
    if (value.length > MAXIMUM_COOKIE) {
      throw new OptionError('scopes', 'with those of the guards are too many to ask for at once: they fill a cookie.')
    }
    const hash = hashState(flow.state)
    const name = `${FLOW}${Math.floor(flow.startedAt).toString(36)}.${hash.slice(0, 12)}`
    let bytes = value.length
    const pending = this.#pending(request).slice(0, MAXIMUM_FLOWS + MAXIMUM_CLEARED)
    for (const [index, other] of pending.entries()) {
      bytes += other.size
      if (index + 1 >= MAXIMUM_FLOWS || bytes > MAXIMUM_BYTES) this.#cookies.clear(reply, other.name)
    }
    this.#cookies.set(reply, name, value, FLOW_LIFETIME / 1000)
  }

  /** The flow that a state answers, if this browser started it and it is not too old. */
  async find(
    request: FastifyRequest,
    client: string,
    state: string,
  ): Promise<{ name: string; flow: PendingFlow } | undefined> {
    const hash = hashState(state)
    const pending = this.#pending(request).find(({ name }) => name.endsWith(`.${hash.slice(0, 12)}`))
    const sealed = pending && this.#cookies.get(request, pending.name)
    if (!pending || !sealed) return undefined
    const flow = await this.#open(sealed, client)
    if (!flow || !same(hashState(flow.state), hash)) return undefined
    return { name: pending.name, flow }
  }

  /** Whether this browser has any flow under way, of whatever state. */
  async some(request: FastifyRequest, client: string): Promise<boolean> {
    for (const { name } of this.#pending(request).slice(0, MAXIMUM_FLOWS)) {
      if (await this.#open(this.#cookies.get(request, name) ?? '', client)) return true
    }
    return false
  }

  clear(reply: FastifyReply, name: string): void {
    this.#cookies.clear(reply, name)
  }

  async #open(sealed: string, client: string): Promise<PendingFlow | undefined> {
    try {
      const packed: PackedFlow = JSON.parse(this.#keys.open('flow', [], sealed))
      const age = this.#clock() - packed.startedAt
      if (packed.client !== client || !(age < FLOW_LIFETIME)) return undefined
      return { ...packed, needed: packed.needed.map((s) => (typeof s === 'number' ? (packed.scopes[s] as string) : s)) }
    } catch {
      return undefined
    }
  }

  #seal(flow: PendingFlow): string {
    // What is needed is nearly always among what is asked for, and long scopes would not fit in twice.
    const needed = flow.needed.map((scope) => (flow.scopes.includes(scope) ? flow.scopes.indexOf(scope) : scope))
    return this.#keys.seal('flow', [], JSON.stringify({ ...flow, needed } satisfies PackedFlow))
  }

  /** Newest first. */
  #pending(request: FastifyRequest): { name: string; size: number; time: number }[] {
    const prefix = this.#cookies.prefix + FLOW
    // Browsers send the older one first, which tells apart those of the same millisecond.
    return Object.entries(this.#cookies.all(request))
      .reverse()
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => ({
        name: name.slice(this.#cookies.prefix.length),
        size: name.length + (value?.length ?? 0),
        time: Number.parseInt(name.slice(prefix.length), 36) || 0,
      }))
      .sort((a, b) => b.time - a.time)
  }
}

const FLOW = 'flow.'

/** What a flow that starts over has to ask for again. */
export function requirementsOf({ stepUp, acrValues, maxAge }: PendingFlow): SignInRequirements {
  return stepUp ? { acrValues, maxAge } : {}
}

/** Compares in a time that does not tell how much of it was right. */
export function same(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}

export function hashState(state: string): string {
  return createHash('sha256').update(state).digest('base64url')
}
