/** How a person has to have signed in: the kind of sign-in, and how long ago. RFC 9470; OpenID Connect Core section 3.1.2.1. */
import { OptionError } from '../errors.js'
import { CLOCK_TOLERANCE } from './provider.js'

/** What a sign-in has to be like. See {@link requireOAuth}. RFC 9470; OpenID Connect Core section 3.1.2.1. */
export interface SignInRequirements {
  /** Classes of authentication (`acr`), of which one will do, the preferred one first. Default: any. */
  readonly acrValues?: readonly string[] | undefined
  /** Seconds that may have passed since the person signed in; `0` asks for another sign-in now. Default: any time. */
  readonly maxAge?: number | undefined
}

/** A class is a word for us; quotes and spaces would end it in a header or a query. */
const ACR = /^[\x21\x23-\x5b\x5d-\x7e]+$/
const MAXIMUM_VALUES = 8
/** Of all classes together: they have to fit into the cookie of a flow, beside the scopes. */
export const MAXIMUM_ACR_LENGTH = 400
const LONGEST_AGE = 999_999_999

/**
 * The requirements that an app wrote down.
 *
 * @param where the options are, for the message
 * @throws {OptionError}
 */
export function parseRequirements(given: SignInRequirements, where = ''): SignInRequirements {
  const { acrValues, maxAge } = given
  const name = (option: string) => (where ? `${where}({ ${option} })` : option)
  // An empty list would be a guard that guards nothing.
  const words = Array.isArray(acrValues) && acrValues.length > 0 && bounded(acrValues).length === acrValues.length
  if (acrValues !== undefined && !words) {
    throw new OptionError(name('acrValues'), `must be an array of 1 to ${MAXIMUM_VALUES} words, such as ["phr"].`)
  }
  if (maxAge !== undefined && !(Number.isInteger(maxAge) && maxAge >= 0 && maxAge <= LONGEST_AGE)) {
    throw new OptionError(name('maxAge'), 'must be a whole number of seconds, such as 300.')
  }
  return present(acrValues, maxAge)
}

/** The requirements that somebody else named: what cannot be asked for is left out. */
export function readRequirements({ acrValues = [], maxAge }: SignInRequirements): SignInRequirements {
  return present(bounded(acrValues), maxAge)
}

export function isRequired({ acrValues, maxAge }: SignInRequirements): boolean {
  return acrValues !== undefined || maxAge !== undefined
}

/** Both at once. Of two lists of classes nobody knows which is the stronger: the one that was named last counts. */
export function joinRequirements(first: SignInRequirements, last: SignInRequirements): SignInRequirements {
  const ages = [first.maxAge, last.maxAge].filter((age) => age !== undefined)
  return present(last.acrValues ?? first.acrValues, ages.length > 0 ? Math.min(...ages) : undefined)
}

/** Whether the sign-in was of one of the classes. */
export function isOfClass(acr: unknown, { acrValues }: SignInRequirements): boolean {
  return acrValues === undefined || acrValues.includes(acr as string)
}

/**
 * Whether the sign-in was recent enough.
 *
 * @param authenticatedAt `auth_time` of the ID token, in seconds
 * @param now milliseconds since the epoch
 */
export function isRecent(
  authenticatedAt: unknown,
  maxAge: number | undefined,
  now: number,
  tolerance: number = CLOCK_TOLERANCE,
): boolean {
  if (maxAge === undefined) return true
  const elapsed = now / 1000 - (typeof authenticatedAt === 'number' ? authenticatedAt : Number.NEGATIVE_INFINITY)
  return elapsed <= maxAge + tolerance && elapsed >= -tolerance
}

/** Whether what an ID token said about the sign-in is what is required. */
export function meetsRequirements(
  claims: { readonly acr?: unknown; readonly auth_time?: unknown } | undefined,
  required: SignInRequirements,
  now: number,
): boolean {
  return isOfClass(claims?.acr, required) && isRecent(claims?.auth_time, required.maxAge, now)
}

function bounded(values: readonly unknown[]): string[] {
  const kept: string[] = []
  for (const value of values) {
    if (typeof value !== 'string' || !ACR.test(value) || kept.includes(value)) continue
    if (kept.length < MAXIMUM_VALUES && [...kept, value].join(' ').length <= MAXIMUM_ACR_LENGTH) kept.push(value)
  }
  return kept
}

function present(acrValues: readonly string[] | undefined, maxAge: number | undefined): SignInRequirements {
  return {
    ...(acrValues && acrValues.length > 0 ? { acrValues } : {}),
    ...(maxAge === undefined ? {} : { maxAge }),
  }
}
