/** What a store holds beside records and for a time only: what its keys begin with, and for how long it is of use. */

export const USED_FLOWS = 'used/'
export const PENDING_LINKS = 'pending/'
export const LOGOUT_TOKENS = 'logout/'
export const HELD_FORMS = 'form/'
export const MOVED_ACCOUNTS = 'moved/'
export const SIGN_INS = 'sign-ins/'

/** Milliseconds after which each is of no use. */
export const MARKERS: readonly (readonly [prefix: string, lifetime: number])[] = [
  // A flow ends after ten minutes.
  [USED_FLOWS, 660_000],
  // Accounts that nobody confirmed within ten minutes.
  [PENDING_LINKS, 660_000],
  // No logout token is accepted for longer than a day.
  [LOGOUT_TOKENS, 90_000_000],
  // Forms that nobody posted again within ten minutes.
  [HELD_FORMS, 660_000],
  // No browser keeps a cookie for longer than 400 days.
  [MOVED_ACCOUNTS, 400 * 86_400_000],
  [SIGN_INS, 400 * 86_400_000],
]
