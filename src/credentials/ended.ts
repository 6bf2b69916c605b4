/**
 * Which sign-ins of a user are over, though their browsers do not know it: kept in the user's record, so that the one read of a
 * guard shows it. Never forgotten by time, because nobody knows for how long an app's sessions live.
 */
import { createHash } from 'node:crypto'

/** What a link in a browser's session says about the sign-in that made it. */
export interface SignIn {
  /** Digest of the session at the provider, where its ID token names one. */
  readonly sid?: string
  /** When the flow began, in milliseconds since the epoch. Absent in links of earlier versions. */
  readonly at?: number
}

/** The sign-ins that are over. */
export interface Ended {
  /** All that began until then, in milliseconds since the epoch. */
  readonly until?: number
  /** Digests of sessions at the provider, and when we learned that they ended; oldest first. */
  readonly sids?: readonly (readonly [sid: string, at: number])[]
}

/** Beyond these the oldest is forgotten, and with it every sign-in that is as old. */
const MAXIMUM = 50

export function hasEnded({ until, sids = [] }: Ended = {}, { sid, at = 0 }: SignIn): boolean {
  if (until !== undefined && at <= until) return true
  // A link that does not know its session at the provider could be of any of them.
  return sids.some(([ended, since]) => (sid === undefined ? at <= since : sid === ended))
}

/** @param now milliseconds since the epoch */
export function endAll(ended: Ended = {}, now: number): Ended {
  return { ...ended, until: Math.max(ended.until ?? 0, now) }
}

export function endOne(ended: Ended = {}, sid: string, now: number): Ended {
  const sids = [...(ended.sids ?? []).filter(([known]) => known !== sid), [sid, now] as const]
  const forgotten = sids.slice(0, -MAXIMUM).map(([, at]) => at)
  const until = Math.max(ended.until ?? 0, ...forgotten)
  return { ...(until > 0 ? { until } : {}), sids: sids.slice(-MAXIMUM) }
}

/** What a session at the provider is called here: of one length, and nothing that the provider would know again. */
export function digestOf(name: string): string {
  return createHash('sha256').update(name).digest('base64url').slice(0, 22)
}

export function isEnded(value: unknown): value is Ended | undefined {
  if (value === undefined) return true
  const { until, sids } = (value ?? {}) as Partial<Ended>
  return (
    typeof value === 'object' &&
    value !== null &&
    (until === undefined || Number.isFinite(until)) &&
    (sids === undefined || (Array.isArray(sids) && sids.every(isEntry)))
  )
}

function isEntry(entry: unknown): boolean {
  return Array.isArray(entry) && typeof entry[0] === 'string' && Number.isFinite(entry[1])
}
