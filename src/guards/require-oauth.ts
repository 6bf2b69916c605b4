/** The guards: who may pass. What the others get is in `challenge.ts`. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AnyReply, AnyRequest } from '../any-server.js'
import type { Client } from '../client.js'
import {
  InsufficientScopeError,
  type OAuth2ClientError,
  OptionError,
  StepUpRequiredError,
  UserRequiredError,
} from '../errors.js'
import { clientOf, requestState } from '../lookup.js'
import { isRequired, joinRequirements, parseRequirements, type SignInRequirements } from '../provider/authentication.js'
import { parseScopes, type ScopeInput } from '../provider/scopes.js'
import type { ClientName, ScopesOf } from '../registered-clients.js'
import type { RequestOAuth2 } from '../request.js'
import { challenge, isClientError } from './challenge.js'
import { noteClaim } from './guard-claim.js'
import { answerForHandler, failBefore, noteRefusal } from './handler-failure.js'
import { checkResumable, WHERE } from './resume.js'

/**
 * A hook for `onRequest`, `preValidation` or `preHandler` of any route, whatever the server and its types are. Where Fastify
 * hands it `done` and there is nothing to wait for, it calls that and returns nothing; else it returns a promise.
 * {@link requireOAuth} and {@link oauthAware} make them.
 */
export interface Guard {
  (request: AnyRequest, reply: AnyReply): Promise<unknown>
  (request: AnyRequest, reply: AnyReply, done: () => void): Promise<unknown> | undefined
}

/** What a guard asks for besides scopes. The second argument of {@link requireOAuth}. */
export interface GuardOptions<Name extends string = ClientName> extends SignInRequirements {
  /** Name of the client. Default `'oauth2'`. */
  readonly client?: Name
  /** The connected account that is used. Default: the first one. */
  readonly account?: string
  /**
   * Whether a form that is posted without credentials, or without a scope, is kept while its person is at the provider, and shown to
   * them afterwards to be sent again. For `preValidation` and `preHandler`. Default `false`.
   */
  readonly resume?: boolean
}

/**
 * Lets a request pass when its user granted `scopes`, besides those of the options, and sees to it that the access token
 * works. Anybody else is asked for them, or told. With `maxAge` or `acrValues`, whoever signed in too long ago, or in another
 * way, is asked to sign in again; this needs `openid` among the scopes of the options.
 *
 * @param scopes `'a b'` or `['a', 'b']`; default: only those of the options
 * @throws {OptionError} when made with something that is not a scope, or an option that makes no sense
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { requireOAuth } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/files', { onRequest: requireOAuth('files.read') }, async (request) => {
 *   const response = await request.oauth2.fetch('https://api.example.com/files')
 *   return response.json()
 * })
 * app.post('/password', { onRequest: requireOAuth([], { maxAge: 300 }) }, async () => 'changed')
 * ```
 */
export function requireOAuth<Name extends ClientName = 'oauth2'>(
  scopes?: ScopesOf<Name>,
  options: GuardOptions<Name> = {},
): Guard {
  return guardThat('requireOAuth', scopes, options)
}

/**
 * {@link requireOAuth} for `@fastify/auth`: it answers nobody, and fails with an error, so that another function may let the
 * request in. Where none does, and this one comes last, the answer is the one of the guard.
 *
 * @throws {OptionError} as `requireOAuth` does
 * @example
 * ```ts
 * import auth from '@fastify/auth'
 * import Fastify, { type FastifyRequest } from 'fastify'
 * import { verifyOAuth } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * await app.register(auth)
 * async function verifyApiKey({ headers }: FastifyRequest) {
 *   const key = process.env.API_KEY
 *   if (!key || headers['x-api-key'] !== key) throw new Error('no such key')
 * }
 * app.get('/files', { onRequest: app.auth([verifyApiKey, verifyOAuth('files.read')]) }, async () => 'files')
 * ```
 */
export function verifyOAuth<Name extends ClientName = 'oauth2'>(
  scopes?: ScopesOf<Name>,
  options: Omit<GuardOptions<Name>, 'resume'> = {},
): Guard {
  if ('resume' in options) {
    throw new OptionError(
      'verifyOAuth({ resume })',
      'cannot work: it answers nobody. Write requireOAuth(scopes, { resume: true }).',
    )
  }
  return guardThat('verifyOAuth', scopes, options)
}

function guardThat(
  guardName: 'requireOAuth' | 'verifyOAuth',
  scopes: ScopeInput | undefined,
  options: GuardOptions,
): Guard {
  checkCalled(scopes, guardName)
  const own = parseScopes(scopes, `${guardName}(scopes)`)
  const { client: name = 'oauth2', account, resume = false } = checkOptions(options, guardName)
  const required = parseRequirements(options, guardName)
  // What a guard wants of a client never changes: it is put together once for each.
  const compiled = new WeakMap<Client, Demand>()
  const made = guardOf((request, reply) => {
    const client = clientOf(request, name)
    let demand = compiled.get(client)
    if (!demand) {
      client.declare(own)
      // Whether lasting access is granted shows in the refresh token, not in the scopes.
      const needed = client.options.provider.scopes
        .union(client.options.scopes, own)
        .filter((scope) => scope !== 'offline_access')
      demand = { needed, required, account, resume, throws: guardName === 'verifyOAuth' }
      compiled.set(client, demand)
    }
    return passesAtOnce(client, request, reply, demand) ? undefined : guard(client, request, reply, demand)
  })
  if (resume) resuming.add(made)
  noteClaim(made, { client: name, scopes: own })
  return made
}

/** @param run returns a promise only where there is something to wait for */
function guardOf(run: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> | undefined): Guard {
  return ((request: FastifyRequest, reply: FastifyReply, done?: unknown) => {
    // By hand, or as a hook that is handed something else, it is an async function.
    if (typeof done !== 'function') return (async () => run(request, reply))()
    return run(request, reply) ?? done()
  }) as Guard
}

/**
 * Loads `request.oauth2` and lets everybody pass.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { oauthAware } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/', { onRequest: oauthAware() }, async (request) => `Hello ${request.oauth2.email ?? 'stranger'}`)
 * ```
 */
export function oauthAware(options: Pick<GuardOptions, 'client'> = {}): Guard {
  checkCalled(options, 'oauthAware')
  const unknown = Object.keys(options).find((key) => key !== 'client')
  if (unknown !== undefined) {
    const problem = 'is not known: this one lets everybody pass. Write requireOAuth(scopes, options).'
    throw new OptionError(`oauthAware({ ${unknown} })`, problem)
  }
  const name = checkOptions(options, 'oauthAware').client ?? 'oauth2'
  return guardOf((request, reply) => aware(clientOf(request, name), request, reply))
}

/** What a guard wants. */
interface Demand {
  readonly needed: readonly string[]
  readonly required: SignInRequirements
  readonly account: string | undefined
  readonly resume: boolean
  /** Whether it is for others to answer. */
  readonly throws: boolean
}

const resuming = new WeakSet<Guard>()

/**
 * @param onRequest of a route that is being declared
 * @throws {OptionError} for a guard that is to keep forms where there are none yet
 */
export function checkHook(onRequest: unknown): void {
  if (![onRequest].flat().some((hook) => resuming.has(hook as Guard))) return
  throw new OptionError('requireOAuth({ resume })', `cannot work in onRequest. ${WHERE}`)
}

/** A form that was kept has come again, and is not needed any more, whatever becomes of this request. */
async function arrived(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.method !== 'POST') return
  try {
    await client.heldForms.arrived(request, reply, client.publicPrefix + request.originalUrl)
  } catch (error) {
    // It then goes when its time is over; whether this request may pass without a store is decided by what follows.
    if (!isClientError(error)) throw error
  }
}

/** Whether a request may pass, where that is known without asking anybody. For all others `guard` finds out. */
function passesAtOnce(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  { needed, required, account, resume, throws }: Demand,
): boolean {
  if (resume || throws) return false
  const oauth2 = requestState(client, request, reply)
  try {
    if (oauth2.ownRoute || !oauth2.loadAtHand()) return false
    if (isRequired(required)) oauth2.required = joinRequirements(oauth2.required, required)
    oauth2.select(account)
    if (!oauth2.isReady(needed, required) || client.outcome.isThere(request)) return false
  } catch {
    // It happens again where it can be answered.
    return false
  }
  client.options.watch?.guard('allowed')
  answerForHandler(oauth2, needed)
  return true
}

async function guard(
  client: Client,
  request: FastifyRequest,
  reply: FastifyReply,
  { needed, required, account, resume, throws }: Demand,
): Promise<unknown> {
  // A guard over everything also stands before the routes that people come through to get past it.
  if (requestState(client, request, reply).ownRoute) return aware(client, request, reply)
  if (resume) {
    checkResumable(client, request)
    await arrived(client, request, reply)
  }
  const oauth2 = requestState(client, request, reply)
  const { standing } = oauth2
  if (isRequired(required)) oauth2.required = joinRequirements(oauth2.required, required)
  try {
    await oauth2.load({ recall: true })
    if (client.options.userKey && oauth2.user === undefined && !client.options.resolveUser)
      throw new UserRequiredError()
    oauth2.select(account)
    if (!oauth2.isReady(needed, required)) await makeReady(oauth2, needed, required)
  } catch (error) {
    if (!isClientError(error)) throw error
    if (throws) throw failBefore(oauth2, needed, error, standing)
    return answered(client, reply, error, challenge(client, request, reply, error, oauth2, needed, resume))
  }
  client.options.watch?.guard('allowed')
  answerForHandler(oauth2, needed)
  if (client.outcome.isThere(request))
    await client.outcome.settle(request, reply, client.options.provider.scopes, oauth2.scopes)
  return undefined
}

/** @throws whatever the challenge is about */
async function makeReady(
  oauth2: RequestOAuth2,
  needed: readonly string[],
  required: SignInRequirements,
): Promise<void> {
  await oauth2.ensureUsable()
  if (!(oauth2.covers(needed) && oauth2.meets(required)) && (await oauth2.confirm())) await oauth2.ensureUsable()
  if (!oauth2.covers(needed)) throw new InsufficientScopeError()
  if (!oauth2.meets(required)) throw new StepUpRequiredError(required)
}

async function aware(client: Client, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const oauth2 = requestState(client, request, reply)
  try {
    await oauth2.load()
  } catch (error) {
    if (!isClientError(error)) throw error
    return answered(client, reply, error, challenge(client, request, reply, error, oauth2, client.options.scopes))
  }
  answerForHandler(oauth2, client.options.scopes)
  if (oauth2.hasCredentials())
    await client.outcome.settle(request, reply, client.options.provider.scopes, oauth2.scopes)
  return undefined
}

/** Ends a hook that has sent an answer. Returned, always: a hook that sends and does not say so lets the handler run. */
async function answered(
  client: Client,
  reply: FastifyReply,
  error: OAuth2ClientError,
  sending: Promise<FastifyReply>,
): Promise<FastifyReply> {
  await sending
  noteRefusal(client, reply, error)
  // Whoever hangs up while a session is being saved ends the wait before anything was sent, and Fastify would go on to the
  // handler: for somebody who may not pass, and with a second response.
  if (!reply.sent) reply.hijack()
  return reply
}

/** `onRequest: requireOAuth` hands the request to what should have made the guard. */
function checkCalled(argument: unknown, guardName: string): void {
  if (typeof argument === 'object' && argument !== null && 'raw' in argument && 'headers' in argument) {
    throw new OptionError(guardName, `makes a guard, and is not one itself. Write it with parentheses: ${guardName}().`)
  }
}

function checkOptions<T extends GuardOptions>(options: T, guardName: string): T {
  for (const [name, value] of Object.entries(options)) {
    if (name === 'acrValues' || name === 'maxAge') continue
    const wanted = KNOWN.get(name)
    if (!wanted) {
      const known = [...KNOWN.keys(), 'acrValues', 'maxAge'].join(', ')
      throw new OptionError(`${guardName}({ ${name} })`, `is not known. Known are: ${known}.`)
    }
    if (value !== undefined && (typeof value !== wanted.type || value === '')) {
      throw new OptionError(`${guardName}({ ${name} })`, `must be ${wanted.text}.`)
    }
  }
  return options
}

const NAME = { type: 'string', text: 'a non-empty string' }
const KNOWN = new Map([
  ['client', NAME],
  ['account', NAME],
  ['resume', { type: 'boolean', text: 'true or false' }],
])
