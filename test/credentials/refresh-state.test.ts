import { describe, expect, test } from 'vitest'
import type { Account } from '../../src/credentials/record.js'
import {
  ABANDONED_AFTER,
  decideRefresh,
  isLive,
  type RefreshContext,
  type RefreshDecision,
  SECOND_LOOK_AFTER,
} from '../../src/credentials/refresh-state.js'

const now = 1_800_000_000_000
const attempt = { id: 'somebody', hash: 'of-the-token' }

interface Case {
  /** Milliseconds until the access token expires; absent: unknown. */
  readonly expires?: number
  readonly refreshToken?: false
  readonly dead?: Account['dead']
  readonly attempt?: true
  readonly context?: Partial<RefreshContext>
}

function account(given: Case): Account {
  return {
    id: 'sub',
    identified: true,
    requested: [],
    declined: [],
    tokens: {
      accessToken: 'at',
      tokenType: 'Bearer',
      obtainedAt: now - 1000,
      scopes: [],
      ...(given.expires === undefined ? {} : { expiresAt: now + given.expires }),
      ...(given.refreshToken === false ? {} : { refreshToken: 'rt' }),
    },
    ...(given.attempt ? { attempt } : {}),
    ...(given.dead ? { dead: given.dead } : {}),
  }
}

const decide = (given: Case): RefreshDecision =>
  decideRefresh(account(given), { now, rotation: 'strict', age: 0, watched: 0, ...given.context })

const expired = { expires: -1, attempt: true } as const
const old = { age: ABANDONED_AFTER, watched: SECOND_LOOK_AFTER }

const table: [name: string, given: Case, decision: RefreshDecision][] = [
  ['a token with time left', { expires: 1 }, 'use'],
  ['a token whose time is over this very millisecond', { expires: 0 }, 'claim'],
  ['a token of unknown lifetime', {}, 'use'],
  ['a token of unknown lifetime that an API refused', { context: { rejected: 'at' } }, 'claim'],
  ['a token with time left that an API refused', { expires: 60_000, context: { rejected: 'at' } }, 'claim'],
  ['another token than the refused one: somebody renewed it', { expires: 60_000, context: { rejected: 'old' } }, 'use'],
  ['another token than the refused one, also expired', { expires: -1, context: { rejected: 'old' } }, 'claim'],
  ['an expired token without a refresh token', { expires: -1, refreshToken: false }, 'reauthorize'],
  ['a refused token without a refresh token', { refreshToken: false, context: { rejected: 'at' } }, 'reauthorize'],
  ['a dead grant, though the token has time left', { expires: 60_000, dead: 'refused' }, 'reauthorize'],
  ['a dead grant with an old attempt', { ...expired, dead: 'lost_rotation', context: old }, 'reauthorize'],
  ['a dead grant of another identity', { expires: -1, dead: 'identity_changed' }, 'reauthorize'],
  ['a token with time left, though somebody is at it', { expires: 1, attempt: true }, 'use'],
  ['an expired token, somebody is at it', expired, 'wait'],
  ['an attempt old enough, but only just seen', { ...expired, context: { age: ABANDONED_AFTER, watched: 0 } }, 'wait'],
  [
    'an attempt old enough, seen a moment too short',
    { ...expired, context: { age: ABANDONED_AFTER, watched: SECOND_LOOK_AFTER - 1 } },
    'wait',
  ],
  [
    'an attempt a moment too young, seen for long',
    { ...expired, context: { age: ABANDONED_AFTER - 1, watched: 60_000 } },
    'wait',
  ],
  ['an abandoned attempt, seen twice', { ...expired, context: old }, 'take_over'],
  ['the same, provider without rotation', { ...expired, context: { ...old, rotation: 'none' } }, 'take_over'],
  [
    'an abandoned attempt, strict provider, token refused by an API but not over',
    { expires: 60_000, attempt: true, context: { ...old, rejected: 'at' } },
    'wait',
  ],
  [
    'the same with a rotating provider that forgives',
    { expires: 60_000, attempt: true, context: { ...old, rejected: 'at', rotation: 'rotating' } },
    'take_over',
  ],
  [
    'the same with a provider without rotation',
    { expires: 60_000, attempt: true, context: { ...old, rejected: 'at', rotation: 'none' } },
    'take_over',
  ],
  [
    'the same, strict, once the token is over',
    { expires: 0, attempt: true, context: { ...old, rejected: 'at' } },
    'take_over',
  ],
  // The lifetime is unknown, so that there is something left to lose for as long as anybody knows.
  ['the same, strict, of unknown lifetime', { attempt: true, context: { ...old, rejected: 'at' } }, 'wait'],
]

describe('decideRefresh', () => {
  test.each(table)('%s', (_name, given, decision) => {
    expect(decide(given)).toBe(decision)
  })

  test('looks at nothing but what it is given', () => {
    const frozen = Object.freeze(account(expired))
    const context = Object.freeze({ now, rotation: 'strict', age: 0, watched: 0 } as const)
    expect([decideRefresh(frozen, context), decideRefresh(frozen, context)]).toEqual(['wait', 'wait'])
  })
})

describe('isLive', () => {
  test.each([
    [{ expires: 1 }, true],
    [{ expires: 0 }, false],
    [{}, true],
    [{ dead: 'refused' }, false],
  ] as [Case, boolean][])('%j: %s', (given, live) => {
    expect(isLive(account(given), now)).toBe(live)
  })

  test('a refused token is not, whatever its time', () => {
    expect(isLive(account({}), now, 'at')).toBe(false)
    expect(isLive(account({}), now, 'another')).toBe(true)
  })
})
