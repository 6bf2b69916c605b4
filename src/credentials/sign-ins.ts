/**
 * Who is signed in, as far as it takes to end it from elsewhere: which users a person or a session of the provider stands for
 * here. Noted in the store at each sign-in, where the provider tells us of logouts; what ended is written into users' records.
 */
import { createHash } from 'node:crypto'
import { SignedOutError } from '../errors.js'
import { publish } from '../events.js'
import { digestOf, type Ended, endAll, endOne, hasEnded, type SignIn } from './ended.js'
import type { CredentialManager } from './manager.js'
import type { CredentialRecord } from './record.js'
import { SIGN_INS } from './upkeep/markers.js'
import { reach } from './vault.js'

/** A sign-in with whose it is. */
export interface UserSignIn extends SignIn {
  readonly user?: string
  /** The person at the provider. Absent where nobody says who that is, or where it is the user. */
  readonly sub?: string
}

/** What a logout token names: one session, or all of a person's. */
export interface ProviderSession {
  readonly sub?: string | undefined
  readonly sid?: string | undefined
}

/** Where it is known which sign-ins are over. */
export interface SignIns {
  /**
   * Notes a sign-in, before anything else of it is stored.
   *
   * @throws {SignedOutError} when it is over already. OpenID Connect Back-Channel Logout 1.0 has no word on answers that are on
   * their way.
   */
  note(signIn: UserSignIn): Promise<void>
  /** Ends what the provider says has ended, and returns whose that was. */
  end(session: ProviderSession): Promise<readonly string[]>
  /** Ends everything that began until now. */
  endAll(user: string): Promise<void>
  /** @param record what is stored for the user, where anything is */
  hasEnded(signIn: UserSignIn, record?: CredentialRecord): boolean
}

interface Entry {
  /** Newest first. */
  readonly users: readonly string[]
  /** When it ended, in milliseconds since the epoch. */
  readonly ended?: number
}

/** Of one person at the provider: apps in which hundreds of users share one are not what this is for. */
const MAXIMUM_USERS = 100

export class StoredSignIns implements SignIns {
  readonly #manager: CredentialManager
  readonly #options: { readonly indexed?: boolean; readonly subjectsAreUsers?: boolean }

  /**
   * @param options.indexed whether sign-ins are noted, for a provider that will name them
   * @param options.subjectsAreUsers whether the identity at the provider is the key of the user
   */
  constructor(
    manager: CredentialManager,
    options: { readonly indexed?: boolean; readonly subjectsAreUsers?: boolean } = {},
  ) {
    this.#manager = manager
    this.#options = options
  }

  async note({ user, sub = user, sid, at = 0 }: UserSignIn): Promise<void> {
    if (!this.#options.indexed || user === undefined) return
    const listed = (entry: Entry): Entry => ({
      ...entry,
      users: [user, ...entry.users.filter((other) => other !== user)].slice(0, MAXIMUM_USERS),
    })
    if (sub !== undefined) {
      const { ended } = await this.#change('sub', digestOf(sub), listed)
      if (ended !== undefined && at <= ended) throw new SignedOutError()
    }
    if (sid !== undefined && (await this.#change('sid', sid, listed)).ended !== undefined) throw new SignedOutError()
  }

  /** An account was taken away from its user: what its owner does at the provider is nothing to them any more. */
  async forget(user: string, sub: string): Promise<void> {
    const { store } = this.#manager
    const stored = await reach(() => store.get(this.#key('sub', digestOf(sub))))
    if (!parse(stored?.value).users.includes(user)) return
    await this.#change('sub', digestOf(sub), (entry) => ({
      ...entry,
      users: entry.users.filter((other) => other !== user),
    }))
  }

  async end({ sub, sid }: ProviderSession): Promise<readonly string[]> {
    const now = this.#now
    const digest = sid === undefined ? undefined : digestOf(sid)
    const ended = (entry: Entry): Entry => ({ ...entry, ended: now })
    // A sign-in notes itself first and looks for the end then. Whoever ends it does so in the other order.
    const bySid = digest === undefined ? undefined : await this.#change('sid', digest, ended)
    const bySub =
      sub === undefined
        ? undefined
        : await this.#change('sub', digestOf(sub), digest === undefined ? ended : (entry) => entry)
    const users = new Set([...(bySid?.users ?? []), ...(bySub?.users ?? [])])
    const mark = (before: Ended | undefined) =>
      digest === undefined ? endAll(before, now) : endOne(before, digest, now)
    for (const user of users) await this.#mark(user, mark)
    // Whoever signed in before this was kept a note of.
    const noted = sub === undefined || users.has(sub)
    if (!noted && this.#options.subjectsAreUsers && (await this.#mark(sub, mark, false))) users.add(sub)
    for (const user of users) publish('signed-out', () => ({ client: this.#manager.name, user, by: 'provider' }))
    return [...users]
  }

  async endAll(user: string): Promise<void> {
    await this.#mark(user, (before) => endAll(before, this.#now))
    publish('signed-out', () => ({ client: this.#manager.name, user, by: 'everywhere' }))
  }

  hasEnded(signIn: UserSignIn, record?: CredentialRecord): boolean {
    return hasEnded(record?.ended, signIn)
  }

  /** Whether there is a record that now says so. */
  async #mark(user: string, change: (before: Ended | undefined) => Ended, create = true): Promise<boolean> {
    const { keeper, registration } = this.#manager
    const { issuer, clientId } = registration.provider
    // What is on its way to be stored finds it there, also when it is the first of this user.
    const fresh: CredentialRecord | undefined = create ? { v: 1, issuer, clientId, accounts: [] } : undefined
    const record = await keeper.update(this.#manager.vaultOf(user), (current = fresh) =>
      current ? { ...current, ended: change(current.ended) } : undefined,
    )
    return record !== undefined
  }

  async #change(kind: 'sid' | 'sub', name: string, change: (entry: Entry) => Entry): Promise<Entry> {
    const { store } = this.#manager
    const key = this.#key(kind, name)
    for (;;) {
      const stored = await reach(() => store.get(key))
      const entry = change(parse(stored?.value))
      if ((await reach(() => store.put(key, JSON.stringify(entry), stored?.generation ?? 0))) !== false) return entry
    }
  }

  /** Keys of users are no secret in a store, which has their records under them; what they are called elsewhere is. */
  #key(...place: readonly string[]): string {
    const { issuer, clientId } = this.#manager.registration.provider
    const hash = createHash('sha256').update(JSON.stringify([issuer, clientId, ...place]))
    return `${SIGN_INS}${this.#manager.name}/${hash.digest('base64url')}`
  }

  get #now(): number {
    return this.#manager.registration.clock()
  }
}

function parse(value: string | undefined): Entry {
  try {
    const { users, ended } = JSON.parse(value ?? '')
    if (Array.isArray(users)) return { users, ...(Number.isFinite(ended) ? { ended } : {}) }
  } catch {}
  return { users: [] }
}
