/** Which sign-ins are over, where sessions are all there is: known to this process, and for as long as it lives. */
import { BoundedMap } from '../bounded-map.js'
import { SignedOutError } from '../errors.js'
import { publish } from '../events.js'
import { digestOf } from './ended.js'
import type { ProviderSession, SignIns, UserSignIn } from './sign-ins.js'

/** Beyond these the oldest are forgotten. */
const KEPT = 10_000

export class EndedLinks implements SignIns {
  /** When each was ended, in milliseconds since the epoch. */
  readonly #ended = new BoundedMap<string, number>(KEPT)
  readonly #name: string
  readonly #clock: () => number
  readonly #subjectsAreUsers: boolean

  constructor(name: string, clock: () => number, subjectsAreUsers: boolean) {
    this.#name = name
    this.#clock = clock
    this.#subjectsAreUsers = subjectsAreUsers
  }

  async note(signIn: UserSignIn): Promise<void> {
    if (this.hasEnded(signIn)) throw new SignedOutError()
  }

  async end({ sub, sid }: ProviderSession): Promise<readonly string[]> {
    if (sid !== undefined) this.#end('sid', digestOf(sid))
    if (sub !== undefined) this.#end(sid === undefined ? 'sub' : 'some', sub)
    if (!this.#subjectsAreUsers || sub === undefined) return []
    publish('signed-out', () => ({ client: this.#name, user: sub, by: 'provider' }))
    return [sub]
  }

  async endAll(user: string): Promise<void> {
    this.#end('user', user)
    publish('signed-out', () => ({ client: this.#name, user, by: 'everywhere' }))
  }

  hasEnded({ user, sub = user, sid, at = 0 }: UserSignIn): boolean {
    if (this.#ended.isEmpty) return false
    const since = (kind: string, name = '') => this.#ended.get(`${kind} ${name}`) ?? Number.NEGATIVE_INFINITY
    if (at <= since('user', user) || at <= since('sub', sub)) return true
    // A link that does not know its session at the provider could be of any of them.
    return sid === undefined ? at <= since('some', sub) : this.#ended.get(`sid ${sid}`) !== undefined
  }

  #end(kind: 'sid' | 'sub' | 'some' | 'user', name: string): void {
    this.#ended.set(`${kind} ${name}`, this.#clock())
  }
}
