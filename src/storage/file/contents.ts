/** What the file of a `fileStore` says. Called by `storage/file` only. */
import { CredentialsUnreadableError, type UnreadableReason } from '../../errors.js'

export interface Entry {
  /** `undefined` marks a tombstone. */
  readonly value: string | undefined
  readonly generation: number
  /** When it was written or deleted, in milliseconds of the store's clock. */
  readonly at: number
}

export interface Lease {
  readonly owner: string
  readonly until: number
}

export interface Contents {
  /** The highest generation that any key ever had. */
  generation: number
  readonly entries: Map<string, Entry>
  readonly leases: Map<string, Lease>
}

const FORMAT = 'fastify-oauth2client/credentials'
const VERSION = 1

export function emptyContents(): Contents {
  return { generation: 0, entries: new Map(), leases: new Map() }
}

// Lists rather than objects, because keys such as "__proto__" are no good names for members.
export function serializeContents({ generation, entries, leases }: Contents): string {
  const contents = {
    format: FORMAT,
    version: VERSION,
    generation,
    entries: Array.from(entries, ([key, entry]) => ({ key, ...entry })),
    leases: Array.from(leases, ([key, lease]) => ({ key, ...lease })),
  }
  return `${JSON.stringify(contents, null, 1)}\n`
}

/** @throws {CredentialsUnreadableError} */
export function parseContents(text: string, file: string): Contents {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // Not the error of JSON.parse as the cause, which quotes the text.
    throw damaged(file, 'is not JSON')
  }
  if (!isObject(json) || json.format !== FORMAT) throw damaged(file, 'is JSON, but holds no credentials')
  if (json.version !== VERSION) {
    const reason = Number(json.version) > VERSION ? 'newer_version' : 'damaged'
    throw unreadable(reason, `${file} has version ${json.version}, and this is for ${VERSION}. Upgrade.`)
  }
  const { generation, entries, leases } = json
  if (!isNumber(generation) || !Array.isArray(entries) || !Array.isArray(leases)) throw damaged(file, 'lacks a member')
  const contents: Contents = { generation, entries: new Map(), leases: new Map() }
  for (const entry of entries) {
    if (!isEntry(entry)) throw damaged(file, 'has an entry that is none')
    contents.entries.set(entry.key, { value: entry.value, generation: entry.generation, at: entry.at })
  }
  for (const lease of leases) {
    if (!isLease(lease)) throw damaged(file, 'has a lease that is none')
    contents.leases.set(lease.key, { owner: lease.owner, until: lease.until })
  }
  return contents
}

/** An error whose message may be shown to anybody, with the details in its cause. */
export function unreadable(reason: UnreadableReason, details: string): Error {
  return new CredentialsUnreadableError(reason, { cause: new Error(details) })
}

export function damaged(file: string, problem: string): Error {
  return unreadable('damaged', `${file} ${problem}. Restore it from a copy, or move it away to start anew.`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number'
}

function isEntry(entry: unknown): entry is Entry & { key: string } {
  return (
    isObject(entry) &&
    typeof entry.key === 'string' &&
    (entry.value === undefined || typeof entry.value === 'string') &&
    isNumber(entry.generation) &&
    isNumber(entry.at)
  )
}

function isLease(lease: unknown): lease is Lease & { key: string } {
  return isObject(lease) && typeof lease.key === 'string' && typeof lease.owner === 'string' && isNumber(lease.until)
}
