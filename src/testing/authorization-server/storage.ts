import type { Adapter, AdapterPayload } from 'oidc-provider'
import { ServerTime } from './time.js'

/**
 * Where one server keeps sessions, grants and tokens: maps in memory that no other server sees. (The library's own
 * memory adapter is shared by all providers of a process.)
 */

const MAX_ENTRIES = 5000

interface Entry {
  readonly payload: AdapterPayload
  readonly expiresAt: number
}

/** The models whose entries die with their grant. */
const GRANTED = ['AccessToken', 'RefreshToken', 'AuthorizationCode', 'DeviceCode'] as const

export class ServerStorage {
  readonly #time: ServerTime
  readonly #models = new Map<string, Map<string, Entry>>()

  constructor(time = new ServerTime()) {
    this.#time = time
  }

  adapter(model: string): Adapter {
    const entries = this.#entries(model)
    const time = this.#time
    const find = async (id: string) => {
      const entry = entries.get(id)
      if (entry === undefined) return undefined
      if (entry.expiresAt > time.now()) return time.heard(structuredClone(entry.payload))
      entries.delete(id)
      return undefined
    }
    return {
      find,
      async upsert(id, payload, expiresIn) {
        const expiresAt = expiresIn === undefined ? Number.POSITIVE_INFINITY : time.now() + expiresIn * 1000
        entries.delete(id)
        entries.set(id, { payload: time.told(structuredClone(payload)), expiresAt })
        const oldest = entries.keys().next()
        if (entries.size > MAX_ENTRIES && !oldest.done) entries.delete(oldest.value)
      },
      async findByUid(uid) {
        for (const [id, { payload }] of entries) if (payload.uid === uid) return find(id)
        return undefined
      },
      async findByUserCode(userCode) {
        for (const [id, { payload }] of entries) if (payload.userCode === userCode) return find(id)
        return undefined
      },
      async consume(id) {
        const entry = entries.get(id)
        if (entry) entry.payload.consumed = Math.floor(time.now() / 1000)
      },
      async destroy(id) {
        entries.delete(id)
      },
      async revokeByGrantId(grantId) {
        for (const [id, { payload }] of entries) if (payload.grantId === grantId) entries.delete(id)
      },
    }
  }

  /** The grant of this user to this client, whichever browser it was made in. */
  grantId(clientId: string, accountId: string): string | undefined {
    for (const [id, { payload, expiresAt }] of this.#entries('Grant')) {
      if (payload.clientId === clientId && payload.accountId === accountId && expiresAt > this.#time.now()) return id
    }
    return undefined
  }

  /** Lets every refresh token of a grant cover these scopes from now on. */
  widenRefreshTokens(grantId: string, scope: string): void {
    for (const { payload } of this.#entries('RefreshToken').values()) {
      if (payload.grantId !== grantId) continue
      payload.scope = [...new Set(`${payload.scope ?? ''} ${scope}`.split(' ').filter(Boolean))].join(' ')
    }
  }

  forgetAccessTokens(): void {
    this.#entries('AccessToken').clear()
  }

  /** Removes the grants of one account, or all grants, with everything that was issued from them. */
  removeGrants(accountId?: string): void {
    const grants = this.#entries('Grant')
    for (const [grantId, { payload }] of grants) {
      if (accountId !== undefined && payload.accountId !== accountId) continue
      grants.delete(grantId)
      for (const model of GRANTED) void this.adapter(model).revokeByGrantId(grantId)
    }
  }

  #entries(model: string): Map<string, Entry> {
    const known = this.#models.get(model)
    if (known !== undefined) return known
    const entries = new Map<string, Entry>()
    this.#models.set(model, entries)
    return entries
  }
}
