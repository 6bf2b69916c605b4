import { describe, expect, test } from 'vitest'
import type { Account } from '../../src/credentials/record.js'
import {
  ABANDONED_AFTER,
  type AccountStatus,
  afterLostWrite,
  CLAIM_LIFETIME,
  claim,
  claimStands,
  decideRefresh,
  hashToken,
  isLive,
  nextLookAfter,
  outcomeOf,
  type RefreshAnswer,
  type RefreshContext,
  type RefreshDecision,
  type RefreshOutcome,
  SECOND_LOOK_AFTER,
  type Settled,
  statusOf,
} from '../../src/credentials/refresh-state.js'

const now = 1_800_000_000_000
const attempt = { id: 'somebody', hash: 'of-the-token' }

interface Case {
  /** Milliseconds until the access token expires; absent: unknown. */
  readonly expires?: number
  readonly refreshToken?: false
  readonly dead?: Account['dead']
  readonly attempt?: true
  readonly doubted?: true
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
    ...(given.doubted ? { doubtedSince: now - 1000 } : {}),
    ...(given.dead ? { dead: given.dead } : {}),
  }
}

const decide = (given: Case): RefreshDecision =>
  decideRefresh(account(given), {
    now,
    rotation: 'strict',
    grace: 0,
    timeout: 10_000,
    ended: false,
    age: 0,
    watched: 0,
    ...given.context,
  })

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
  ['a claim was given back, and there is still doubt', { expires: 0, doubted: true }, 'claim'],
  ['the same, strict, token not over', { expires: 60_000, doubted: true, context: { rejected: 'at' } }, 'wait'],
  // An API's refusal is all that will ever be known of its end.
  ['the same, strict, of unknown lifetime', { attempt: true, context: { ...old, rejected: 'at' } }, 'take_over'],
  [
    'an owner that waits longer for its answer is given longer',
    { ...expired, context: { ...old, timeout: 60_000, age: 61_999 } },
    'wait',
  ],
  ['and not for ever', { ...expired, context: { ...old, timeout: 60_000, age: 62_000 } }, 'take_over'],
]

describe('decideRefresh', () => {
  test.each(table)('%s', (_name, given, decision) => {
    expect(decide(given)).toBe(decision)
  })

  test('looks at nothing but what it is given', () => {
    const frozen = Object.freeze(account(expired))
    const context = Object.freeze({
      now,
      rotation: 'strict',
      grace: 0,
      timeout: 10_000,
      ended: false,
      age: 0,
      watched: 0,
    } as const)
    expect([decideRefresh(frozen, context), decideRefresh(frozen, context)]).toEqual(['wait', 'wait'])
  })
})

describe('a provider that takes a refresh token again for a while', () => {
  const SECOND = 1000
  const doubted = (seconds: number) => ({
    ...account({ expires: 60_000 }),
    attempt: { ...attempt, at: now - seconds * SECOND },
  })
  const context = {
    now,
    rejected: 'at',
    rotation: 'strict',
    grace: 30 * SECOND,
    timeout: 10_000,
    ended: false,
    age: 0,
    watched: 0,
  } as const

  test.each<[string, number, Partial<RefreshContext>, RefreshDecision]>([
    ['whoever lost the answer asks again at once', 0, { ended: true }, 'take_over'],
    ['up to ten seconds before it is over', 19.999, { ended: true }, 'take_over'],
    ['then not any more', 20, { ended: true }, 'wait'],
    ['not when it went back in time', -1, { ended: true }, 'wait'],
    ['not without a grace period', 0, { ended: true, grace: 0 }, 'wait'],
    ['others do not know that the owner is not at it any more', 0, {}, 'wait'],
    ['others do not count on a short grace period: clocks differ', 0, old, 'wait'],
    ['a long one', 31, { ...old, grace: 300 * SECOND }, 'take_over'],
    ['a long one, less ten seconds and as much as clocks differ', 230, { ...old, grace: 300 * SECOND }, 'wait'],
    ['a long one, too young', 0, { ...old, grace: 300 * SECOND, age: ABANDONED_AFTER - 1 }, 'wait'],
  ])('%s', (_name, seconds, given, expected) => {
    expect(decideRefresh(doubted(seconds), { ...context, ...given })).toBe(expected)
  })

  test('counted from the first use', () => {
    const again = claim(doubted(15), 'mine', now)
    expect(decideRefresh(again, { ...context, ended: true })).toBe('take_over')
    expect(decideRefresh(again, { ...context, ended: true, now: now + 5 * SECOND })).toBe('wait')
  })

  test('an attempt of a version that did not write down when', () => {
    const given = { ...account({ expires: 60_000 }), attempt }
    expect(decideRefresh(given, { ...context, ended: true, grace: 3_600_000 })).toBe('wait')
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

const tokens = { accessToken: 'at-next', tokenType: 'Bearer' }
const identified = { ...account({}), claims: { sub: 'sub' } }

describe('a claim', () => {
  test('names the refresh token without holding it', () => {
    const claimed = claim(account({}), 'mine', now)
    expect(claimed).toEqual({ ...account({}), attempt: { id: 'mine', hash: hashToken('rt'), at: now } })
    expect(JSON.stringify(claimed.attempt)).not.toContain('rt"')
  })

  test('in the place of an abandoned one: since when there is doubt is kept', () => {
    const first = claim(account({}), 'theirs', now - 60_000)
    const second = claim(first, 'mine', now - 30_000)
    expect(second).toMatchObject({ attempt: { id: 'mine' }, doubtedSince: now - 60_000 })
    expect(claim(second, 'mine again', now)).toMatchObject({ doubtedSince: now - 60_000 })
    const { at: _, ...attempt } = first.attempt
    expect(claim({ ...first, attempt }, 'mine', now)).toMatchObject({ doubtedSince: 0 })
  })

  test.each([
    [0, true],
    [CLAIM_LIFETIME, true],
    [CLAIM_LIFETIME + 1, false],
  ])('%i ms after its write was begun: %s', (later, stands) => {
    expect(claimStands(1_000, 1_000 + later)).toBe(stands)
  })
})

describe('outcomeOf', () => {
  const doubted = { ...identified, doubtedSince: now }
  const rotated = { failure: 'unusable', rotated: 'rt-next' } as const
  const answers: [string, RefreshAnswer, RefreshContext['rotation'], RefreshOutcome, Account?][] = [
    ['tokens', { tokens }, 'strict', { kind: 'tokens', tokens }],
    [
      'tokens of somebody else',
      { tokens: { ...tokens, claims: { sub: 'other' } } },
      'strict',
      { kind: 'dead', reason: 'identity_changed' },
    ],
    ['a refusal for good', { failure: 'invalid_grant' }, 'strict', { kind: 'dead', reason: 'refused' }],
    [
      'the same after doubt',
      { failure: 'invalid_grant' },
      'strict',
      { kind: 'dead', reason: 'lost_rotation' },
      doubted,
    ],
    ['the same without rotation', { failure: 'invalid_grant' }, 'none', { kind: 'dead', reason: 'refused' }, doubted],
    ['an outage', { failure: 'in_doubt' }, 'strict', { kind: 'in_doubt' }],
    ['an outage, without rotation', { failure: 'in_doubt' }, 'none', { kind: 'released' }],
    ['an unusable answer', { failure: 'unusable' }, 'strict', { kind: 'in_doubt' }],
    ['an unusable answer with a new refresh token', rotated, 'strict', { kind: 'rotated', refreshToken: 'rt-next' }],
    ['an unusable answer with the old one', { ...rotated, rotated: 'rt' }, 'strict', { kind: 'in_doubt' }],
    ['an unusable answer with an unusable one', { ...rotated, rotated: 'a b' }, 'strict', { kind: 'in_doubt' }],
    ['no connection', { failure: 'unsent' }, 'strict', { kind: 'released' }],
    ['too many requests', { failure: 'rate_limited' }, 'strict', { kind: 'released' }],
    ['a refusal of the client', { failure: 'client' }, 'strict', { kind: 'released' }],
    ['another refusal', { failure: 'refused' }, 'strict', { kind: 'released' }],
  ]
  test.each(answers)('%s', (_name, answer, rotation, outcome, given = identified) => {
    expect(outcomeOf(answer, given, rotation)).toEqual(outcome)
  })
})

describe('a write that was lost to somebody else', () => {
  const claimed = claim(account({}), 'mine', now)
  const others = claim(account({}), 'of another', now)
  const replaced = { ...claimed, tokens: { ...claimed.tokens, refreshToken: 'another' } }
  const received: Settled = { kind: 'tokens', tokens }
  const refusal: Settled = { kind: 'dead', reason: 'refused' }
  test.each<[string, Account | undefined, Settled, string]>([
    ['nothing is there any more', undefined, received, 'revoke'],
    ['the refresh token is still there', account({}), received, 'write'],
    ['the refresh token is still there, somebody took over', others, received, 'write'],
    ['the refresh token was replaced', replaced, received, 'drop'],
    ['a refusal, and the attempt is ours', claimed, refusal, 'write'],
    ['a refusal, and somebody took over', others, refusal, 'drop'],
    ['a refusal, and there is no attempt any more', account({}), refusal, 'drop'],
    ['a refusal of a refresh token that was replaced', replaced, refusal, 'drop'],
    ['a claim to give back', claimed, { kind: 'released' }, 'write'],
    ['a claim to give back that somebody took over', others, { kind: 'released' }, 'drop'],
  ])('%s', (_name, found, outcome, action) => {
    expect(afterLostWrite(found, claimed, outcome)).toBe(action)
  })
})

describe('statusOf', () => {
  test.each<[string, Case, number | undefined, AccountStatus]>([
    ['no attempt', {}, 0, 'active'],
    ['an attempt', { attempt: true }, ABANDONED_AFTER - 1, 'refreshing'],
    ['an attempt, and a store without ages', { attempt: true }, undefined, 'refreshing'],
    ['an old attempt', { attempt: true }, ABANDONED_AFTER, 'in_doubt'],
    ['a claim was given back, and there is still doubt', { doubted: true }, 0, 'in_doubt'],
    ['the same, and somebody is at it', { doubted: true, attempt: true }, 0, 'refreshing'],
    ['a dead grant', { dead: 'refused', attempt: true }, 0, 'needs_reauthorization'],
    ['an access token that is over', { expires: -1 }, 0, 'active'],
    ['the same, and no refresh token', { expires: -1, refreshToken: false }, 0, 'needs_reauthorization'],
    ['time left, and no refresh token', { expires: 1, refreshToken: false }, 0, 'active'],
  ])('%s', (_name, given, age, status) => {
    expect(statusOf(account(given), age, now)).toBe(status)
  })
})

describe('nextLookAfter', () => {
  test.each([0, 0.5, 0.999])(
    'whoever waits learns of the end soon after it, and does not ask all the time (%d)',
    (random) => {
      let looks = 0
      for (let waited = 0; waited < 12_000; looks += 1) {
        const next = nextLookAfter(waited, random)
        expect(next).toBeLessThanOrEqual(Math.max(20, Math.min(250, waited / 4)))
        expect(next).toBeGreaterThan(13)
        waited += next
      }
      expect(looks).toBeLessThan(100)
    },
  )

  test('processes that began together do not look together', () => {
    expect(nextLookAfter(400, 0.1)).not.toBe(nextLookAfter(400, 0.9))
  })
})
