/**
 * Several processes, a store and a provider as plain data. The processes decide with the very functions that the refresher
 * uses; here are only the single steps between which others can come in, in the order in which the refresher takes them.
 */
import { mergeGrant } from '../../src/credentials/changes.js'
import type { Account } from '../../src/credentials/record.js'
import {
  afterLostWrite,
  type Claim,
  claim,
  claimStands,
  decideRefresh,
  outcomeOf,
  type RefreshAnswer,
  receivedToken,
  type Settled,
} from '../../src/credentials/refresh-state.js'
import { settle } from '../../src/credentials/refreshed.js'
import { ScopeSet } from '../../src/provider/scopes.js'
import type { Model } from './explore.js'

/** What writes a record again with another key. */
const reseal = (account: Account): Account => account

/** The functions under test, so that a test can show that it notices when one of them is wrong. */
export const DECISIONS = { afterLostWrite, claim, claimStands, decideRefresh, mergeGrant, outcomeOf, reseal, settle }
export type Decisions = typeof DECISIONS

/** How often something may still happen. */
interface Budget {
  /** A process ends in the middle of anything. */
  readonly crash: number
  /** The provider does what it was asked, and nobody hears of it. */
  readonly lost: number
  /** The provider fails and does nothing. */
  readonly failed: number
  /** No connection is made. */
  readonly unsent: number
  /** An answer of which only the new refresh token can be used. */
  readonly mangled: number
  /** The person withdraws the grant at the provider. */
  readonly withdrawn: number
  /** The store's clock goes half a minute ahead. */
  readonly skew: number
  /** Milliseconds that pass at once. */
  readonly pass: readonly number[]
}

export interface Scenario extends Partial<Budget> {
  /** How many processes, and how often each of them needs a new access token. */
  readonly processes: readonly number[]
  readonly others?: readonly Other['kind'][]
  readonly rotation?: 'none' | 'rotating' | 'strict'
  /** ms after its first use for which a refresh token can be used again. */
  readonly grace?: number
  /** ms for which the first access token lasts. Default: none. */
  readonly lasts?: number
  /** How much time may pass while an answer is waited for or written down. Default 10,000. */
  readonly answeredWithin?: number
  readonly decisions?: Partial<Decisions>
}

interface Stored {
  /** Absent: deleted, or never there. */
  readonly account?: Account
  readonly written: number
}

/** What an actor read, and whether it is what is stored. Generations could be compared for nothing else. */
interface Seen {
  readonly account?: Account | undefined
  readonly current: boolean
}

interface Process {
  readonly kind: 'process'
  readonly name: string
  readonly at:
    | 'reading'
    | 'claiming'
    | 'claimed'
    | 'sent'
    | 'committing'
    | 'rereading'
    | 'revoking'
    | 'done'
    | 'crashed'
  readonly runs: number
  readonly rejected?: string | undefined
  /** When it first saw the attempt that it looks at. */
  readonly watched?: { readonly id: string; readonly first: number } | undefined
  readonly ended?: string | undefined
  readonly seen?: Seen | undefined
  readonly startedAt?: number | undefined
  readonly mine?: Claim | undefined
  readonly outcome?: Settled | undefined
}

interface Other {
  readonly kind: 'sign-in' | 'grant' | 'sweep' | 'revoke'
  readonly at: 'starting' | 'reading' | 'writing' | 'telling' | 'done'
  readonly seen?: Seen | undefined
  readonly brought?: Account | undefined
}

/** All refresh tokens that came from one authorization. Their names are `rt:family.number`. */
interface Family {
  readonly newest: number
  readonly over?: 'reused' | 'withdrawn' | 'revoked'
}

export interface World extends Budget {
  readonly stored: Stored
  readonly families: readonly Family[]
  readonly actors: readonly (Process | Other)[]
  /** By refresh token: how often it reached the provider, and when last. */
  readonly sends: Readonly<Record<string, { readonly times: number; readonly last: number; readonly used: number }>>
  /** The family that was revoked, if that is the last thing that people did to the record. */
  readonly revoked?: number | undefined
}

const scopes = new ScopeSet()
export const HOUR = 3_600_000

function accountWith(family: number, expiresAt: number, withRefreshToken = true): Account {
  return {
    id: 'sub',
    identified: true,
    requested: [],
    declined: [],
    tokens: {
      accessToken: `at:${family}.0`,
      tokenType: 'Bearer',
      obtainedAt: 0,
      expiresAt,
      scopes: [],
      ...(withRefreshToken ? { refreshToken: `rt:${family}.0` } : {}),
    },
  }
}

/** Always: when time passes, everything else moves into the past, and no farther than it matters. */
const NOW = 0
const LONGEST_GRACE = 400_000
const OLDEST: Record<string, number> = { written: 30_000, first: 2_000, startedAt: 2_001, last: 30_000, expiresAt: 1 }

function later<T>(value: T, ms: number, oldest: typeof OLDEST): T {
  if (Array.isArray(value)) return value.map((item) => later(item, ms, oldest)) as T
  if (typeof value !== 'object' || value === null) return value
  const moved = Object.entries(value).map(([name, item]) => {
    const limit = oldest[name]
    if (typeof item !== 'number' || limit === undefined) return [name, later(item, ms, oldest)]
    // What ends within the hour lasts for all of the shorter times together.
    return [name, Math.max(item - (name === 'expiresAt' && ms < HOUR ? 0 : ms), -limit)]
  })
  return Object.fromEntries(moved) as T
}

const familyOf = (token: string) => Number(/^.t:(\d+)\./.exec(token)?.[1])
const numberOf = (token: string) => Number(/\.(\d+)$/.exec(token)?.[1])

/** One that nobody remembers. */
function unusedId({ stored, actors }: World, name: string): string {
  const text = JSON.stringify([stored, actors])
  for (let i = 0; ; i += 1) if (!text.includes(`"${name}${i}"`)) return name + i
}

function broken(promise: string): never {
  throw new Error(promise)
}

export function refreshModel(scenario: Scenario): Model<World> {
  const { rotation = 'strict', grace = 0, lasts = 0, answeredWithin = 10_000, others = [] } = scenario
  const late = answeredWithin >= 28_000
  const decide: Decisions = { ...DECISIONS, ...scenario.decisions }
  const { crash = 0, lost = 0, failed = 0, unsent = 0, mangled = 0, withdrawn = 0, skew = 0, pass = [] } = scenario
  // When a refresh token was first used matters only where there is a grace period.
  const counted = { at: LONGEST_GRACE, doubtedSince: LONGEST_GRACE, used: LONGEST_GRACE }
  const oldest = grace > 0 ? { ...OLDEST, ...counted } : OLDEST
  const budget = { crash, lost, failed, unsent, mangled, withdrawn, skew, pass }
  const troubled = crash + lost + failed + withdrawn > 0 || late
  const initial: World = {
    ...budget,
    stored: { account: accountWith(0, lasts), written: NOW },
    families: [{ newest: 0 }],
    actors: [
      ...scenario.processes.map((runs, i): Process => {
        const name = 'abc'.charAt(i)
        const rejected = lasts ? 'at:0.0' : undefined
        // Every member, in one order: states are told apart by their text.
        const clean = { seen: undefined, startedAt: undefined, mine: undefined, outcome: undefined }
        return {
          kind: 'process',
          name,
          at: 'reading',
          runs,
          rejected,
          watched: undefined,
          ended: undefined,
          ...clean,
        }
      }),
      ...others.map((kind): Other => ({ kind, at: kind === 'sweep' || kind === 'revoke' ? 'reading' : 'starting' })),
    ],
    sends: {},
    revoked: undefined,
  }

  /** Compare-and-set. `undefined` when somebody else wrote first. */
  function write(world: World, account: Account | undefined, seen: Seen): World | undefined {
    if (!seen.current && !(seen.account === undefined && world.stored.account === undefined)) return undefined
    const outdated = ({ seen: held, ...actor }: Process | Other) => ({
      ...actor,
      seen: held && { ...held, current: false },
    })
    const actors = world.actors.map((actor) => (actor.seen?.current ? outdated(actor) : actor)) as World['actors']
    return { ...world, actors, stored: { ...(account ? { account } : {}), written: NOW } }
  }

  function processSteps(world: World, me: Process, put: (world: World, me: Process) => World): [string, World][] {
    const go = (step: string, change: Partial<Process>, next = world): [string, World] => [
      `${me.name}: ${step}`,
      put(next, { ...me, ...change }),
    ]
    const clean = { seen: undefined, mine: undefined, outcome: undefined, startedAt: undefined }
    const again = { ...clean, at: 'reading' } as const
    const finish = (used = me.rejected): Partial<Process> =>
      me.runs > 1
        ? { ...again, runs: me.runs - 1, rejected: used }
        : { ...clean, at: 'done', runs: 0, rejected: undefined, watched: undefined, ended: undefined }
    const { stored } = world
    switch (me.at) {
      case 'reading': {
        const { account } = stored
        if (!account) return [go('finds nothing', finish())]
        const { attempt } = account
        const watched: Process['watched'] =
          attempt && (me.watched?.id === attempt.id ? me.watched : { id: attempt.id, first: NOW })
        const decision = decide.decideRefresh(account, {
          now: NOW,
          rejected: me.rejected,
          rotation,
          grace,
          timeout: 10_000,
          ended: attempt !== undefined && me.ended === attempt.id,
          age: NOW - stored.written,
          watched: watched ? NOW - watched.first : 0,
        })
        if (decision === 'use') return [go('uses what is there', finish(account.tokens.accessToken))]
        if (decision === 'reauthorize') return [go('needs a person', finish())]
        if (decision === 'wait') {
          if (attempt && me.ended === attempt.id) return [go('does not wait for itself', finish())]
          return [go('waits', { watched }), go('gives up', finish())]
        }
        return [go(decision, { at: 'claiming', watched, seen: { account, current: true }, startedAt: NOW })]
      }
      case 'claiming': {
        const mine = decide.claim(me.seen!.account!, unusedId(world, me.name), NOW)
        const next = write(world, mine, me.seen!)
        if (!next) return [go('loses the claim', again)]
        return [go('claims', { at: 'claimed', mine, seen: { account: mine, current: true } }, next)]
      }
      case 'claimed':
        return decide.claimStands(me.startedAt!, NOW)
          ? [go('sends', { at: 'sent', startedAt: undefined })]
          : [go('is too late to send', { at: 'committing', outcome: { kind: 'released' } })]
      case 'sent':
        return answers(world, me.mine!).map(([step, answer, next]) => {
          const outcome = decide.outcomeOf(answer, me.mine!, rotation)
          return outcome.kind === 'in_doubt'
            ? go(`${step}; in doubt`, { ...finish(), ended: me.mine!.attempt.id }, next)
            : go(`${step}; ${outcome.kind}`, { at: 'committing', outcome }, next)
        })
      case 'committing': {
        const account = me.seen!.account!
        const [mine, outcome] = [me.mine!, me.outcome!]
        const after = decide.settle(account, mine, outcome, scopes, NOW)
        const next = write(world, after, me.seen!)
        if (!next) return [go('loses the write', { at: 'rereading' })]
        checkWrite(world, account, after, mine, outcome)
        return [
          go(
            `writes ${outcome.kind}`,
            outcome.kind === 'released' ? releasedTo(me) : finish(after.tokens.accessToken),
            next,
          ),
        ]
      }
      case 'rereading': {
        const { account } = stored
        const action = decide.afterLostWrite(account, me.mine!, me.outcome!)
        if (action === 'drop') return [go('drops what it has', again)]
        if (action === 'revoke') return [go('finds it revoked', { at: 'revoking' })]
        return [go('tries again', { at: 'committing', seen: { account: account!, current: true } })]
      }
      case 'revoking': {
        const token = receivedToken(me.outcome!)
        return [go('revokes what it received', finish(), token === undefined ? world : revoke(world, token))]
      }
      default:
        return []
    }
    /** A claim that was not used is decided anew; an answer without effect is an error for whoever asked. */
    function releasedTo({ startedAt }: Process): Partial<Process> {
      return startedAt === undefined ? finish() : again
    }
  }

  function answers(world: World, mine: Claim): [string, RefreshAnswer, World][] {
    const token = mine.tokens.refreshToken!
    const all: [string, RefreshAnswer, World][] = []
    const { times, last, used } = world.sends[token] ?? { times: 0, last: NOW, used: NOW }
    const graced = grace > 0 && NOW - used <= grace
    if (world.unsent > 0) all.push(['no connection', { failure: 'unsent' }, { ...world, unsent: world.unsent - 1 }])
    if (times > 0 && rotation !== 'none' && !graced) {
      if (!troubled) broken(`${token} is sent again though nothing went wrong`)
      if (!late && NOW - last < 28_000) broken(`${token} is sent again after ${NOW - last} ms`)
    }
    const live = mine.tokens.expiresAt === undefined || NOW < mine.tokens.expiresAt
    if (times > 0 && rotation === 'strict' && live && !late && !graced)
      broken('a strict provider is asked again too early')
    const arrived: World = { ...world, sends: { ...world.sends, [token]: { times: times + 1, last: NOW, used } } }
    const index = familyOf(token)
    const family = world.families[index]!
    const withFamily = (change: Partial<Family>, at = arrived): World => ({
      ...at,
      families: at.families.map((f, i) => (i === index ? { ...f, ...change } : f)),
    })
    if (world.failed > 0) all.push(['500', { failure: 'in_doubt' }, { ...arrived, failed: world.failed - 1 }])
    if (family.over) return [...all, ['refused', { failure: 'invalid_grant' }, arrived]]
    if (rotation !== 'none' && numberOf(token) !== family.newest && !graced) {
      const over = rotation === 'strict' ? withFamily({ over: 'reused' }) : arrived
      if (!troubled) broken(`${token} is used twice though nothing went wrong`)
      return [...all, ['refused, used before', { failure: 'invalid_grant' }, over]]
    }
    if (world.withdrawn > 0) {
      const over = withFamily({ over: 'withdrawn' }, { ...arrived, withdrawn: world.withdrawn - 1 })
      all.push(['refused, withdrawn', { failure: 'invalid_grant' }, over])
    }
    const newest = family.newest + 1
    const done = withFamily({ newest })
    const refreshToken = rotation === 'none' ? {} : { refreshToken: `rt:${index}.${newest}` }
    const accessToken = `at:${index}.${newest}`
    const tokens = { accessToken, tokenType: 'Bearer', expiresAt: NOW + HOUR, ...refreshToken }
    all.push(['answered', { tokens }, done])
    if (world.lost > 0) all.push(['answer lost', { failure: 'in_doubt' }, { ...done, lost: world.lost - 1 }])
    if (world.mangled > 0) {
      const answer = { failure: 'unusable', rotated: refreshToken.refreshToken } as const
      all.push(['mangled', answer, { ...done, mangled: world.mangled - 1 }])
    }
    return all
  }

  /** Only the newest token of a family ends it: whoever received one that nobody else knows has to see to it. */
  function revoke(world: World, token: string): World {
    const index = familyOf(token)
    const found = (f: Family, i: number) => i === index && (rotation === 'none' || numberOf(token) === f.newest)
    return { ...world, families: world.families.map((f, i) => (found(f, i) ? { over: 'revoked' as const, ...f } : f)) }
  }

  function checkWrite(world: World, before: Account, after: Account, mine: Claim, { kind }: Settled): void {
    const [old, token] = [before.tokens.refreshToken ?? '', after.tokens.refreshToken ?? '']
    const family = world.families[familyOf(old)]!
    if (world.revoked !== undefined) broken('a refresh brings back what was revoked')
    if (familyOf(token) !== familyOf(old)) broken('a refresh overwrites a sign-in')
    if (numberOf(token) < numberOf(old)) broken('a refresh token overwrites a newer one')
    const granted = before.tokens.accessToken !== mine.tokens.accessToken
    if (granted && after.tokens.accessToken !== before.tokens.accessToken) broken('a refresh undoes a grant')
    if (kind !== 'dead' || !after.dead) return
    if (before.attempt?.id !== mine.attempt.id) broken('somebody else than the owner of the attempt calls a grant dead')
    if (!family.over && (rotation === 'strict' || numberOf(token) === family.newest))
      broken('a living grant is called dead')
    // Two who both think that they own the refresh token cannot both know why it is refused.
    const lost = family.over === undefined || (family.over === 'reused' && !late)
    if (after.dead === 'refused' && lost) broken('a lost rotation is taken for a refusal')
  }

  function otherSteps(world: World, me: Other, put: (world: World, me: Other) => World): [string, World][] {
    const go = (step: string, change: Partial<Other>, next = world): [string, World] => [
      `${me.kind}: ${step}`,
      put(next, { ...me, ...change }),
    ]
    const done = { at: 'done', seen: undefined, brought: undefined } as const
    const { stored } = world
    switch (me.at) {
      case 'starting': {
        const index = world.families.length
        const brought = accountWith(index, NOW + HOUR, me.kind === 'sign-in')
        // Access tokens of a grant are told apart by a family of their own, which has no refresh token.
        const next = { ...world, families: [...world.families, { newest: 0 }] }
        return [go('is authorized', { at: 'reading', brought }, next)]
      }
      case 'reading':
        if (!stored.account && me.kind !== 'sign-in' && me.kind !== 'grant') return [go('finds nothing', done)]
        return [go('reads', { at: 'writing', seen: { account: stored.account, current: true } })]
      case 'writing': {
        const { account } = me.seen!
        const grant = { account: me.brought!, needed: [], intent: 'grant' } as const
        const change =
          me.kind === 'sweep'
            ? account && decide.reseal(account)
            : me.kind === 'revoke'
              ? undefined
              : decide.mergeGrant(account, grant, scopes, NOW)
        const next = write(world, change, me.seen!)
        if (!next) return [go('loses', { at: 'reading', seen: undefined })]
        if (me.kind === 'revoke')
          return [go('deletes', { at: 'telling' }, { ...next, revoked: familyOf(account!.tokens.refreshToken!) })]
        return [go('writes', done, { ...next, revoked: undefined })]
      }
      case 'telling': {
        const { refreshToken } = me.seen!.account!.tokens
        return [go('tells the provider', done, refreshToken ? revoke(world, refreshToken) : world)]
      }
      default:
        return []
    }
  }

  const isBusy = (actor: Process | Other) =>
    actor.kind === 'process' &&
    (actor.at === 'sent' || ((actor.at === 'committing' || actor.at === 'rereading') && actor.startedAt === undefined))

  return {
    initial,
    *next(world) {
      for (const [i, actor] of world.actors.entries()) {
        const put = (next: World, me: Process | Other): World => ({
          ...next,
          actors: next.actors.map((other, j) => (i === j ? me : other)),
        })
        if (actor.kind !== 'process') {
          yield* otherSteps(world, actor, put)
          continue
        }
        yield* processSteps(world, actor, put)
        if (world.crash > 0 && actor.at !== 'done' && actor.at !== 'crashed') {
          const { kind, name } = actor
          const gone: Process = { kind, name, at: 'crashed', runs: 0 }
          yield [`${name}: crashes`, put({ ...world, crash: world.crash - 1 }, gone)]
        }
      }
      if (world.skew > 0) {
        const stored = { ...world.stored, written: world.stored.written - 30_000 }
        yield ['the clock of the store goes ahead', { ...world, stored, skew: world.skew - 1 }]
      }
      for (const [i, ms] of world.pass.entries()) {
        if (world.pass.indexOf(ms) !== i || (ms > answeredWithin && world.actors.some(isBusy))) continue
        if (world.actors.every(({ at }) => at === 'done' || at === 'crashed')) continue
        yield [`${ms} ms pass`, { ...later(world, ms, oldest), pass: world.pass.filter((_, j) => j !== i) }]
      }
    },
    end(world) {
      const { account } = world.stored
      if (world.revoked !== undefined) {
        if (account) broken('what was revoked is there')
        if (!troubled && !world.families[world.revoked]!.over)
          broken('what a refresh received is alive after a revocation')
        return
      }
      if (troubled || !account) return
      const token = account.tokens.refreshToken ?? ''
      const family = world.families[familyOf(token)]!
      if (account.dead || family.over) broken('a grant died though nothing went wrong')
      if (rotation !== 'none' && numberOf(token) !== family.newest) broken('the newest refresh token is lost')
      if (account.attempt) broken('an attempt stays behind')
      if (others.includes('sign-in') && familyOf(token) === 0) broken('a sign-in is lost')
    },
  }
}
