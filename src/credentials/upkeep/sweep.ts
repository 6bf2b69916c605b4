/** What has to be done to stored credentials now and then, whoever uses them: best by one scheduled job. */
import {
  ClientMismatchError,
  CredentialsUnreadableError,
  OAuth2ClientError,
  OptionError,
  StoreUnavailableError,
} from '../../errors.js'
import { checkKnown, numberOf } from '../../registration/checks.js'
import type { CredentialStore } from '../../storage/storage.js'
import type { CredentialManager } from '../manager.js'
import { reach, type Snapshot } from '../vault.js'
import { MARKERS } from './markers.js'
import { PendingRevocations } from './pending-revocations.js'
import { resealIfNeeded } from './reseal.js'

/** What {@link CredentialManager.sweep} does besides what is always due. */
export interface SweepOptions {
  /**
   * Seconds after which a grant that was not used is refreshed, for providers whose refresh tokens die when they are not used
   * (30 days are common). Default: none is.
   */
  readonly keepAlive?: number
  /** Ends the sweep early. What was done by then stays done. */
  readonly signal?: AbortSignal
}

/** What a sweep found and did. Resolved to by {@link CredentialManager.sweep}; worth a line in a log. */
export interface SweepReport {
  /** Users with something stored. */
  readonly users: number
  /** Records that cannot be read or belong to another registration, which were left alone. */
  readonly unreadable: number
  /** Records that were sealed with another key than the first one, and now are with that. */
  readonly resealed: number
  /** Keys that no record is sealed with any more, by id: they can be removed from `encryptionKeys`. */
  readonly freeKeys: readonly string[]
  /** Accounts that were refreshed to keep them alive. */
  readonly refreshed: number
  /** Accounts for which that failed; the next sweep tries again. */
  readonly refreshFailed: number
  /** Revocations that the provider could be told about now. */
  readonly revoked: number
  /** Revocations that still wait, for the next sweep. */
  readonly revocationsPending: number
  /** Markers that nobody needs any more and that were removed. */
  readonly removed: number
}

type Counts = { -readonly [K in keyof SweepReport]: SweepReport[K] }

const NOTHING: SweepReport = {
  users: 0,
  unreadable: 0,
  resealed: 0,
  freeKeys: [],
  refreshed: 0,
  refreshFailed: 0,
  revoked: 0,
  revocationsPending: 0,
  removed: 0,
}

/**
 * @throws {OptionError} when the store cannot list its keys
 * @throws {StoreUnavailableError} when it cannot be reached
 */
export async function sweep(manager: CredentialManager, options: SweepOptions = {}): Promise<SweepReport> {
  checkKnown(options, { keepAlive: 'any', signal: 'object' })
  const keepAlive = numberOf('keepAlive', options.keepAlive, 1)
  const { signal } = options
  const { store } = manager
  if (!store.list)
    throw new OptionError('storage', 'cannot list its keys, which a sweep needs. Give the store a list(prefix).')
  const list = (prefix: string) => keysOf(store, prefix)
  const report = { ...NOTHING }
  const seen = new Set<string>()
  for await (const key of list(manager.prefix)) {
    if (signal?.aborted) return report
    await sweepRecord(manager, key, keepAlive, seen, report)
  }
  const { registry } = manager
  const pending = new PendingRevocations(manager)
  for await (const key of list(pending.prefix)) {
    if (signal?.aborted) return report
    await tellAgain(pending, key, report)
  }
  // Only a look at everything can tell that a key is free: revocations that wait were sealed with one too.
  const listed = (await registry?.listed()) ?? []
  const free = listed.filter((kid) => kid !== manager.sealer.kid && !seen.has(kid))
  report.freeKeys = (await registry?.retire(free)) ?? []
  for (const [prefix, lifetime] of MARKERS) {
    for await (const key of list(prefix)) {
      if (signal?.aborted) return report
      const stored = await reach(() => store.get(key))
      if (!stored || (stored.age ?? 0) <= lifetime) continue
      if (await reach(() => store.delete(key, stored.generation))) report.removed += 1
    }
  }
  return report
}

async function* keysOf(store: CredentialStore, prefix: string): AsyncIterable<string> {
  const keys = store.list?.(prefix)[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await reach(async () => keys?.next())
      if (!next || next.done) return
      yield next.value
    }
  } finally {
    await reach(async () => keys?.return?.())
  }
}

async function sweepRecord(
  manager: CredentialManager,
  key: string,
  keepAlive: number | undefined,
  seen: Set<string>,
  report: Counts,
): Promise<void> {
  const { store, sealer, registry } = manager
  let outcome = await resealIfNeeded(store, sealer, key, registry)
  while (outcome.result === 'lost_race') outcome = await resealIfNeeded(store, sealer, key, registry)
  const { result, kid } = outcome
  if (result === 'gone') return
  report.users += 1
  if (result === 'resealed') report.resealed += 1
  else if (kid !== undefined) {
    seen.add(kid)
    // A process that is older than the list of keys did not put its own on it. A key that is lost stays off it once somebody
    // took it off: one record that cannot be read is no reason not to start.
    if (result === 'current') await registry?.register(kid)
  }
  if (result === 'unreadable' || result === 'foreign') report.unreadable += 1
  else if (keepAlive !== undefined) await refreshUnused(manager, key, keepAlive * 1000, report)
}

async function tellAgain(pending: PendingRevocations, key: string, report: Counts): Promise<void> {
  try {
    const grants = await pending.read(key)
    const { outcomes, left } = await pending.tell(grants)
    await pending.keepLeft(key, left)
    for (const outcome of outcomes) report[outcome === 'failed' ? 'revocationsPending' : 'revoked'] += 1
  } catch (error) {
    if (!(error instanceof CredentialsUnreadableError)) throw error
    report.unreadable += 1
  }
}

async function refreshUnused(manager: CredentialManager, key: string, unused: number, report: Counts): Promise<void> {
  const { keeper, registration } = manager
  const vault = manager.vaultOf(decodeURIComponent(key.slice(manager.prefix.length)))
  let snapshot: Snapshot | undefined
  try {
    snapshot = await keeper.load(vault)
  } catch (error) {
    // It could be opened, and says something that only a later version knows, or that is about another client.
    if (!(error instanceof CredentialsUnreadableError) && !(error instanceof ClientMismatchError)) throw error
    report.unreadable += 1
  }
  for (const { id, dead, tokens } of snapshot?.record.accounts ?? []) {
    if (dead || tokens.refreshToken === undefined || registration.clock() - tokens.obtainedAt < unused) continue
    try {
      await keeper.usable(vault, snapshot, { account: id, rejected: tokens.accessToken })
      report.refreshed += 1
    } catch (error) {
      if (!(error instanceof OAuth2ClientError) || error instanceof StoreUnavailableError) throw error
      report.refreshFailed += 1
    }
  }
}
