/**
 * Forms whose person is at the provider. They wait where credentials are kept, but apart from them: in the store, or in a
 * session on the server, and never in a cookie. The flow knows what its form is called, and nothing of what is in it.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { HELD_FORMS } from '../credentials/upkeep/markers.js'
import { reach } from '../credentials/vault.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { CredentialStore } from '../storage/storage.js'
import type { CookieJar } from './cookies.js'
import { same } from './flow-cookie.js'
import { ensureBinding, readAside, readBinding, writeAside } from './session.js'

export type Fields = readonly (readonly [name: string, value: string])[]

export interface HeldForm {
  readonly fields: Fields
  /** Path and query that it was posted to, as browsers see them. */
  readonly path: string
  /** Who was signed in. Absent: nobody, and whoever signs in for its sake may go on with it. */
  readonly postedBy?: string
  /** The one person who may see it: whoever its own flow came back with. Absent until then. */
  readonly owner?: string
  /** The random value in the session that it was posted in. */
  readonly binding: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Milliseconds for the way to the provider and back, and for a look at the form. */
const LIFETIME = 600_000
/**
 * Forms of one process, for each kind of sender: people who never come back, and programs that pretend to be browsers, are not to
 * fill the store, nor to take the room of people who were here before.
 */
const MAXIMUM = 1_000
/** Forms of one person, or of one session that nobody is signed in to. */
const MAXIMUM_EACH = 20
/** Forms of one browser whose page is open. */
const MAXIMUM_SHOWN = 5

export class HeldForms {
  readonly #client: string
  readonly #store: CredentialStore | undefined
  readonly #keys: KeyRing
  readonly #cookies: CookieJar
  readonly #clock: () => number
  /** Left by this process, oldest first. */
  readonly #left: { id: string; until: number; sender: Sender }[] = []

  constructor(
    client: string,
    store: CredentialStore | undefined,
    keys: KeyRing,
    cookies: CookieJar,
    clock: () => number,
  ) {
    this.#client = client
    this.#store = store
    this.#keys = keys
    this.#cookies = cookies
    this.#clock = clock
  }

  /** @returns what the form is called, or `undefined` where there are too many of them already */
  async hold(
    request: FastifyRequest,
    form: Pick<HeldForm, 'fields' | 'path' | 'postedBy'>,
  ): Promise<string | undefined> {
    const now = this.#clock()
    this.#forget(now)
    const sender = senderOf(request, form)
    if (!this.#hasRoom(sender)) return undefined
    const id = randomBytes(16).toString('base64url')
    const expiresAt = now + LIFETIME
    await this.#write(request, id, { ...form, binding: ensureBinding(request, now), expiresAt }, 0)
    this.#left.push({ id, until: expiresAt, sender })
    return id
  }

  /** The form's flow came back with somebody: either the form is theirs from now on, or it is nobody's. */
  async release(request: FastifyRequest, id: string, user: string): Promise<void> {
    const { form, generation } = (await this.#open(request, id)) ?? {}
    if (!form || form.owner === user) return
    if ((form.owner ?? form.postedBy ?? user) !== user) return this.#drop(request, id)
    await this.#write(request, id, { ...form, owner: user }, generation)
  }

  /** A form of this browser and of this person, whose flow is over. One that changed hands is dropped. */
  async find(request: FastifyRequest, id: string, user: string): Promise<HeldForm | undefined> {
    const { form } = (await this.#open(request, id)) ?? {}
    if (!form || !isBoundTo(request, form) || form.owner === undefined) return undefined
    if (form.owner === user) return form
    await this.#drop(request, id)
    return undefined
  }

  /** Notes in this browser that the form was shown, and is likely to be posted. */
  shown(request: FastifyRequest, reply: FastifyReply, id: string): void {
    this.#note(reply, [id, ...this.#shown(request).filter((other) => other !== id)].slice(0, MAXIMUM_SHOWN))
  }

  /** Ends the life of the form that a request for this path may be the second post of. Costs nothing where none was shown. */
  async arrived(request: FastifyRequest, reply: FastifyReply, path: string): Promise<void> {
    for (const id of this.#shown(request)) {
      const { form } = (await this.#open(request, id)) ?? {}
      if (!form || !isBoundTo(request, form) || form.path !== path) continue
      await this.#drop(request, id)
      this.#note(
        reply,
        this.#shown(request).filter((other) => other !== id),
      )
      return
    }
  }

  async #open(request: FastifyRequest, id: string): Promise<{ form: HeldForm; generation: number } | undefined> {
    // It may come from a query: not everything can be a key in a store.
    if (!/^[\w-]{22}$/.test(id)) return undefined
    const store = this.#store
    const { value, generation } = store
      ? ((await reach(() => store.get(this.#key(id)))) ?? { value: undefined, generation: 0 })
      : { value: readAside(request, 'form', this.#client), generation: 0 }
    if (!value) return undefined
    try {
      const form: HeldForm = JSON.parse(this.#keys.open('form', [this.#client, id], value))
      return this.#clock() < form.expiresAt ? { form, generation } : undefined
    } catch {
      return undefined
    }
  }

  async #write(request: FastifyRequest, id: string, form: HeldForm, generation = 0): Promise<void> {
    const sealed = this.#keys.seal('form', [this.#client, id], JSON.stringify(form))
    const store = this.#store
    // Whoever wrote meanwhile answers the same callback, or posted the form.
    if (store) await reach(() => store.put(this.#key(id), sealed, generation))
    else writeAside(request, 'form', this.#client, sealed)
  }

  async #drop(request: FastifyRequest, id: string): Promise<void> {
    const store = this.#store
    if (store) await reach(() => store.delete(this.#key(id)))
    else writeAside(request, 'form', this.#client, undefined)
    const index = this.#left.findIndex((left) => left.id === id)
    if (index >= 0) this.#left.splice(index, 1)
  }

  #hasRoom({ kind, name }: Sender): boolean {
    const others = this.#left.filter(({ sender }) => sender.kind === kind)
    if (others.length >= MAXIMUM) return false
    return name === undefined || others.filter(({ sender }) => sender.name === name).length < MAXIMUM_EACH
  }

  #shown(request: FastifyRequest): string[] {
    const names = this.#cookies.get(request, this.#cookie)?.split('.') ?? []
    return names.slice(0, MAXIMUM_SHOWN)
  }

  #note(reply: FastifyReply, ids: readonly string[]): void {
    if (ids.length > 0) this.#cookies.set(reply, this.#cookie, ids.join('.'), LIFETIME / 1000)
    else this.#cookies.clear(reply, this.#cookie)
  }

  #forget(now: number): void {
    while (this.#left[0] && now >= this.#left[0].until) {
      const { id } = this.#left.shift() as { id: string }
      reach(async () => this.#store?.delete(this.#key(id))).catch(() => {})
    }
  }

  #key(id: string): string {
    return `${HELD_FORMS}${this.#client}/${id}`
  }

  get #cookie(): string {
    return `forms.${this.#client}`
  }
}

/** Who is to be counted. Whoever sends no session can send any number of requests, each as somebody new. */
interface Sender {
  readonly kind: 'person' | 'session' | 'stranger'
  readonly name?: string
}

/** Before the request is given a session of its own. */
function senderOf(request: FastifyRequest, { postedBy }: Pick<HeldForm, 'postedBy'>): Sender {
  if (postedBy !== undefined) return { kind: 'person', name: postedBy }
  const binding = readBinding(request)
  return binding === undefined ? { kind: 'stranger' } : { kind: 'session', name: binding }
}

function isBoundTo(request: FastifyRequest, form: HeldForm): boolean {
  const binding = readBinding(request)
  return binding !== undefined && same(form.binding, binding)
}
