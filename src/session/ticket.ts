/** What a link to the authorize route carries beyond a plain scope: sealed by us, so that nobody else can ask for it. */
import { TicketInvalidError } from '../errors.js'
import type { KeyRing } from '../keys/key-ring.js'
import type { SignInRequirements } from '../provider/authentication.js'

/** What to ask for. */
export interface Ticket extends SignInRequirements {
  readonly scopes?: readonly string[]
  /** The account that the grant is for, or `'new'` for another one. */
  readonly account?: string
  readonly prompt?: string
  readonly loginHint?: string
}

/** Milliseconds that a page with such a link may stay open. */
const LIFETIME = 3_600_000

export async function sealTicket(keys: KeyRing, client: string, ticket: Ticket, now: number): Promise<string> {
  return keys.seal('ticket', [client], JSON.stringify({ ...ticket, expiresAt: now + LIFETIME }))
}

/** @throws {TicketInvalidError} */
export async function openTicket(keys: KeyRing, client: string, sealed: string, now: number): Promise<Ticket> {
  try {
    const { expiresAt, ...ticket } = JSON.parse(keys.open('ticket', [client], sealed))
    if (now < expiresAt) return ticket
  } catch {}
  throw new TicketInvalidError()
}
