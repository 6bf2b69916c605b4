import type { TestUser } from './options.js'

/** Users exist by signing in: everything about them follows from the name that was typed. */

const DOMAIN = '@example.test'

/** The user of a name, or of the e-mail address that this server gives that name (applications send it as a hint). */
export function userOfName(input: string): TestUser {
  const trimmed = input.trim()
  const name = trimmed.endsWith(DOMAIN) ? trimmed.slice(0, -DOMAIN.length) : trimmed
  // Names may hold anything; a subject has to be ASCII and an address must not have spaces.
  const plain = encodeURIComponent(name)
  return { name, sub: `sub-${plain}`, email: plain + DOMAIN }
}

/** The user of a subject that `userOfName` made. */
export function userOfSub(sub: string): TestUser | undefined {
  if (!sub.startsWith('sub-')) return undefined
  try {
    return userOfName(decodeURIComponent(sub.slice('sub-'.length)))
  } catch {
    return undefined
  }
}
