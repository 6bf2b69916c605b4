/** How scopes compare: as sets, by name, with a provider's aliases and inclusions. RFC 6749 section 3.3. */
import { OptionError } from '../errors.js'
import type { ScopeRules } from './preset.js'

/** Scopes as a person may write them: `'a b'`, or `['a', 'b']`. Where only some are meant, a text holds one of them.
 * {@link parseScopes} reads them. RFC 6749 section 3.3. */
export type ScopeInput<Scope extends string = string> = Scope | readonly Scope[]

// RFC 6749 appendix A.4: printable ASCII without space, quote and backslash.
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/**
 * Reads scopes into a list without duplicates, in the order given.
 *
 * @throws {OptionError} for anything that is not a scope; `option` is what the message names
 * @example
 * ```ts
 * import { parseScopes } from 'fastify-oauth2client/credentials'
 *
 * parseScopes('openid email') // ['openid', 'email']
 * ```
 */
export function parseScopes(input: ScopeInput | undefined, option = 'scopes'): string[] {
  if (input === undefined) return []
  const list: unknown = typeof input === 'string' ? input.split(' ').filter(Boolean) : input
  if (!Array.isArray(list)) throw new OptionError(option, 'must be a string or an array of strings.')
  for (const scope of list) {
    if (typeof scope !== 'string' || !SCOPE_TOKEN.test(scope)) {
      throw new OptionError(option, `holds something that is not a scope: ${JSON.stringify(scope)?.slice(0, 80)}`)
    }
  }
  return [...new Set(list as string[])]
}

/** Reads the `scope` of an answer: tolerant, since providers are not. Commas separate too, as GitHub writes them. */
export function readScopes(value: string): string[] {
  return [...new Set(value.split(/[ ,]+/).filter((scope) => SCOPE_TOKEN.test(scope)))]
}

/** Comparisons under one provider's rules. */
export class ScopeSet {
  readonly #rules: ScopeRules

  constructor(rules: ScopeRules = {}) {
    this.#rules = rules
  }

  /** The name under which a scope is compared. */
  canonical(scope: string): string {
    const { aliases } = this.#rules
    if (typeof aliases === 'function') return aliases(scope)
    return aliases && Object.hasOwn(aliases, scope) ? (aliases[scope] as string) : scope
  }

  /** What of `needed` is not in `granted`, spelled as in `needed`. */
  missing(granted: readonly string[], needed: readonly string[]): string[] {
    // Most scopes are spelled the same on both sides: no set is built unless one is not.
    if (needed.every((scope) => granted.includes(scope))) return []
    const have = this.#expand(granted)
    return needed.filter((scope) => !have.has(this.canonical(scope)))
  }

  covers(granted: readonly string[], needed: readonly string[]): boolean {
    return this.missing(granted, needed).length === 0
  }

  /** Both lists without duplicates, aliases counted as one; earlier spellings win. */
  union(...lists: readonly (readonly string[])[]): string[] {
    const seen = new Map<string, string>()
    for (const scope of lists.flat()) {
      const name = this.canonical(scope)
      if (!seen.has(name)) seen.set(name, scope)
    }
    return [...seen.values()]
  }

  /** What counts as granted: what the answer lists, or everything asked for where it lists nothing. RFC 6749 section 5.1. */
  granted(requested: readonly string[], answered: readonly string[] | undefined): string[] {
    if (answered === undefined) return [...requested]
    const unreported = new Set(this.#rules.unreported?.map((scope) => this.canonical(scope)))
    return this.union(
      answered,
      requested.filter((scope) => unreported.has(this.canonical(scope))),
    )
  }

  #expand(scopes: readonly string[]): Set<string> {
    const { implies } = this.#rules
    const all = new Set(scopes.map((scope) => this.canonical(scope)))
    // A Set visits what is added while it is walked, so chains of inclusions are followed to their end.
    for (const scope of all) {
      // Providers name scopes as they like, also after members that every object has.
      if (!implies || !Object.hasOwn(implies, scope)) continue
      for (const included of implies[scope] ?? []) all.add(this.canonical(included))
    }
    return all
  }
}
