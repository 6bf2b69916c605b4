import type { TestScope } from './options.js'

/** The scopes that a server knows, and which of them a person may decline. */

const STANDARD: Readonly<Record<string, string>> = {
  openid: 'Know who you are',
  profile: 'See your name',
  email: 'See your e-mail address',
  offline_access: 'Keep access while you are away',
}

export interface ScopeBook {
  readonly names: readonly string[]
  declinable(scope: string): boolean
  describe(scope: string): string
}

export function scopeBook(scopes: Readonly<Record<string, TestScope>>): ScopeBook {
  const own = new Map(Object.entries(scopes))
  return {
    names: [...new Set([...Object.keys(STANDARD), ...own.keys()])],
    declinable: (scope) => own.has(scope) && own.get(scope)?.required !== true,
    describe: (scope) => own.get(scope)?.description ?? STANDARD[scope] ?? scope,
  }
}

/** The scopes in a space-separated list, each once. */
export function splitScopes(list: unknown): string[] {
  return typeof list === 'string' ? [...new Set(list.split(' ').filter(Boolean))] : []
}
