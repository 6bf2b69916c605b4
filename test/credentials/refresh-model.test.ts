/**
 * Everything that can happen, in every order, to a few processes that refresh one account: not samples of it. The promises
 * that are checked at every step are in the model.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { explore } from '../helpers/explore.js'
import { DECISIONS, type Decisions, HOUR, refreshModel, type Scenario } from '../helpers/refresh-model.js'

const HALF_MINUTE = 30_000
/** More than a claim is good for, and more than lies between two looks. */
const MOMENT = 2_001
const ONCE = { pass: [MOMENT, HALF_MINUTE] }
const TWICE = { pass: [MOMENT, HALF_MINUTE, HALF_MINUTE] }

const scenarios = {
  'three processes': [{ processes: [1, 1, 1], pass: [MOMENT, HALF_MINUTE] }, 20_000],
  'two processes, twice': [{ processes: [2, 2], pass: [MOMENT, HALF_MINUTE] }, 5_000],
  'a sign-in, a sweep and a revocation': [{ processes: [1, 1], others: ['sign-in', 'sweep', 'revoke'] }, 8_000],
  'a sweep and a revocation': [{ pass: [MOMENT], processes: [1, 1], others: ['sweep', 'revoke'] }, 5_000],
  'three processes and a sign-in': [{ processes: [1, 1, 1], others: ['sign-in'], pass: [MOMENT] }, 1_000],
  'a grant without a refresh token': [{ processes: [1, 2], lasts: 1, others: ['grant', 'sweep'] }, 3_000],
  'a slow claim and a sweep': [{ processes: [1, 1], others: ['sweep'], pass: [MOMENT, HALF_MINUTE] }, 10_000],
  'a store whose clock goes ahead': [{ processes: [1, 1], skew: 1, pass: [MOMENT], answeredWithin: 0 }, 500],
  'a crash and a sweep': [{ ...ONCE, processes: [1, 1], crash: 1, others: ['sweep'] }, 10_000],
  'a crash and a revocation': [{ ...ONCE, processes: [1, 1], crash: 1, others: ['revoke'] }, 15_000],
  'two crashes of three': [{ ...ONCE, processes: [1, 1, 1], crash: 2 }, 30_000],
  'a lost answer, then no connection': [{ ...TWICE, processes: [2, 1], lost: 1, unsent: 1 }, 20_000],
  'a lost answer while there is time left': [
    { pass: [MOMENT, HALF_MINUTE, HOUR], processes: [1, 2], lasts: 1, lost: 1 },
    10_000,
  ],
  'a lost answer and a grant': [{ ...ONCE, processes: [2, 1], lost: 1, others: ['grant'] }, 30_000],
  'failures, and a person who withdraws': [{ ...ONCE, processes: [2, 1], failed: 1, withdrawn: 1 }, 4_000],
  'an answer good for its refresh token only': [{ processes: [2, 1], mangled: 1, others: ['sweep'] }, 1_000],
  'an owner who sleeps too long': [{ ...ONCE, processes: [1, 2], answeredWithin: HOUR }, 3_000],
  'an owner who sleeps too long, and a revocation': [
    { ...ONCE, processes: [1, 1], answeredWithin: HOUR, others: ['revoke'] },
    20_000,
  ],
  'a provider that forgives': [{ ...ONCE, processes: [2, 1], rotation: 'rotating', lost: 1, unsent: 1 }, 6_000],
  'a short grace period': [
    { pass: [MOMENT, 19_000, 19_000], processes: [3, 1], lasts: 1, grace: 30_000, lost: 2 },
    1_000,
  ],
  'a long grace period': [{ ...ONCE, processes: [1, 1], lasts: 1, grace: 300_000, lost: 1, crash: 1 }, 1_000],
  'a provider without rotation': [{ ...ONCE, processes: [2, 2], rotation: 'none', lost: 1, crash: 1 }, 20_000],
} satisfies Record<string, [scenario: Scenario, states: number]>

let total = 0
// For whoever wonders how much that is.
afterAll(() => console.info(`${total.toLocaleString('en')} states`))

// The least number of states is there so that an explorer that looks at nothing is noticed.
test.each(Object.entries(scenarios))('%s', { timeout: 60_000 }, (_name, [scenario, least]) => {
  const { states, ends } = explore(refreshModel(scenario))
  total += states
  expect(states).toBeGreaterThan(least)
  expect(ends).toBeGreaterThan(0)
})

const { afterLostWrite, decideRefresh, mergeGrant, outcomeOf, settle } = DECISIONS

const again = 'rt:0.0 is sent again'
const misjudged = 'a lost rotation is taken for a refusal'

/** What could be wrong with each decision, and where and how it shows. */
const mistakes: Record<string, [where: keyof typeof scenarios, how: string, Partial<Decisions>]> = {
  'nobody minds an attempt': [
    'three processes',
    again,
    { decideRefresh: ({ attempt: _, ...account }, context) => decideRefresh(account, context) },
  ],
  'an attempt is taken over at the first look': [
    'a store whose clock goes ahead',
    again,
    { decideRefresh: (account, context) => decideRefresh(account, { ...context, watched: HOUR }) },
  ],
  'an attempt is taken over however young': [
    'two crashes of three',
    `${again} after 2001 ms`,
    { decideRefresh: (account, context) => decideRefresh(account, { ...context, age: HOUR }) },
  ],
  'a strict provider is asked again while the access token works': [
    'a lost answer while there is time left',
    'a strict provider is asked again too early',
    { decideRefresh: (account, context) => decideRefresh(account, { ...context, rotation: 'rotating' }) },
  ],
  'a grace period begins anew with each attempt': [
    'a short grace period',
    again,
    {
      claim: (account, id, now) => {
        const { doubtedSince, ...claimed } = DECISIONS.claim(account, id, now)
        return doubtedSince === undefined ? claimed : { ...claimed, doubtedSince: now }
      },
    },
  ],
  'a grace period is used to its end': [
    'a short grace period',
    'a strict provider is asked again too early',
    { decideRefresh: (account, context) => decideRefresh(account, { ...context, grace: context.grace && HOUR }) },
  ],
  'a claim never goes stale': ['a slow claim and a sweep', again, { claimStands: () => true }],
  'a claim forgets that there was doubt': [
    'a crash and a sweep',
    misjudged,
    { claim: ({ attempt: _, doubtedSince: __, ...account }, id, now) => DECISIONS.claim(account, id, now) },
  ],
  'doubt is no reason to wait': [
    'failures, and a person who withdraws',
    `${again} after 0 ms`,
    {
      outcomeOf: (...given) => {
        const outcome = outcomeOf(...given)
        return outcome.kind === 'in_doubt' ? { kind: 'released' } : outcome
      },
    },
  ],
  'a new refresh token in an unusable answer is not seen': [
    'an answer good for its refresh token only',
    'the newest refresh token is lost',
    {
      outcomeOf: (answer, ...given) => outcomeOf('tokens' in answer ? answer : { failure: answer.failure }, ...given),
    },
  ],
  'a lost write is repeated whatever was written': [
    'three processes and a sign-in',
    'a refresh overwrites a sign-in',
    { afterLostWrite: (found) => (found ? 'write' : 'revoke') },
  ],
  'what was received is dropped because somebody else wrote': [
    'a slow claim and a sweep',
    'the newest refresh token is lost',
    { afterLostWrite: (found) => (found ? 'drop' : 'revoke') },
  ],
  'what was received for a revoked grant is forgotten': [
    'a sweep and a revocation',
    'what a refresh received is alive after a revocation',
    { afterLostWrite: (found, ...given) => (found ? afterLostWrite(found, ...given) : 'drop') },
  ],
  'whoever was overtaken calls the grant dead': [
    'an owner who sleeps too long',
    'somebody else than the owner of the attempt calls a grant dead',
    {
      afterLostWrite: (found, mine, outcome) =>
        afterLostWrite(found && { ...found, attempt: mine.attempt }, mine, outcome),
    },
  ],
  'a claim that is given back takes the doubt with it': [
    'a lost answer, then no connection',
    misjudged,
    {
      settle: (...given) => {
        const { doubtedSince: _, ...account } = settle(...given)
        return account
      },
    },
  ],
  'a newer access token is overwritten': [
    'a grant without a refresh token',
    'a refresh undoes a grant',
    { settle: (current, mine, ...given) => settle({ ...current, tokens: mine.tokens }, mine, ...given) },
  ],
  'an attempt stays after its answer': [
    'three processes',
    'an attempt stays behind',
    { settle: (current, ...given) => ({ ...settle(current, ...given), attempt: current.attempt! }) },
  ],
  'a sweep drops the attempt': ['a sweep and a revocation', again, { reseal: ({ attempt: _, ...account }) => account }],
  'a grant drops the attempt': [
    'a grant without a refresh token',
    again,
    {
      mergeGrant: (...given) => {
        const { attempt: _, ...account } = mergeGrant(...given)
        return account
      },
    },
  ],
  'a grant drops the doubt': [
    'a lost answer and a grant',
    again,
    {
      mergeGrant: (...given) => {
        const { doubtedSince: _, ...account } = mergeGrant(...given)
        return account
      },
    },
  ],
}

describe('mistakes are noticed', () => {
  test.each(Object.entries(mistakes))('%s', (_name, [where, how, decisions]) => {
    expect(() => explore(refreshModel({ ...scenarios[where][0], decisions }))).toThrow(how)
  })
})
