/** Checks of option values that more than one option needs. Each throws an error that names the option and what to write. */
import { OptionError } from '../errors.js'

/** The type of an option's value; `any` where more than one will do, which is then checked by whoever reads it. */
export type Kind = 'string' | 'boolean' | 'function' | 'object' | 'any'

/**
 * Every given option is known and of its type.
 *
 * @param known all options there are
 * @param elsewhere what to say about names that people are likely to try
 * @throws {OptionError}
 */
export function checkKnown(
  raw: object,
  known: Readonly<Record<string, Kind>>,
  elsewhere: Readonly<Record<string, string>> = {},
): void {
  for (const [option, value] of Object.entries(raw)) {
    // Fastify adds an empty prefix of its own in some set-ups.
    if (value === undefined || (option === 'prefix' && value === '')) continue
    if (!Object.hasOwn(known, option)) {
      // As the RFCs and other libraries spell it: client_id, clientID.
      const meant = Object.keys(known).find((name) => plain(name) === plain(option))
      const unknown = meant ? `is called "${meant}".` : `is not known. Known are: ${Object.keys(known).join(', ')}.`
      throw new OptionError(option, (Object.hasOwn(elsewhere, option) && elsewhere[option]) || unknown)
    }
    if (value === null) throw new OptionError(option, 'is null. Leave it out for its default.')
    const kind = known[option] as Kind
    const actual = Array.isArray(value) ? 'an array' : typeof value
    if (kind !== 'any' && actual !== kind) {
      throw new OptionError(option, `must be ${kind === 'object' ? 'an' : 'a'} ${kind}, and is ${actual}.`)
    }
    if (kind === 'string' && value === '')
      throw new OptionError(option, 'is empty. Is an environment variable not set?')
  }
}

const plain = (name: string) => name.replaceAll('_', '').toLowerCase()

/** @throws {OptionError} */
export function numberOf(option: string, value: unknown, minimum: number): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value) || value < minimum) {
    throw new OptionError(option, `must be a number of at least ${minimum}.`)
  }
  return value
}

/**
 * What a timer can wait: a larger or a fractional number would fail at the first request instead.
 *
 * @throws {OptionError}
 */
export function milliseconds(option: string, value: unknown): number | undefined {
  if (value === undefined) return undefined
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31) return value as number
  throw new OptionError(option, 'must be a whole number of milliseconds, such as 10000.')
}

/**
 * The first one allowed is the default.
 *
 * @throws {OptionError}
 */
export function oneOf<const T extends readonly unknown[]>(option: string, value: unknown, allowed: T): T[number] {
  if (value === undefined) return allowed[0]
  if (allowed.includes(value)) return value
  throw new OptionError(option, `must be one of ${allowed.map((v) => JSON.stringify(v)).join(', ')}.`)
}
