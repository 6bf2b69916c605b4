/** Whether what a client depends on is there: its provider, its store, and the keys that the records need. */
import type { Client } from '../client.js'
import { reach } from '../credentials/vault.js'
import { KeyInUseError } from '../errors.js'
import { askProvider } from '../provider/reachable.js'
import { milliseconds, numberOf } from '../registration/checks.js'

/**
 * How one client is doing. Words, and nothing of what anybody said.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { type ClientHealth, oauthAware } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * const words = { ok: '', degraded: 'You cannot sign in at the moment.', down: 'We are looking after it.' }
 * const banner = ({ status }: ClientHealth) => words[status]
 * app.get('/', { onRequest: oauthAware() }, async () => banner(await app.oauth2.health()))
 * ```
 */
export interface ClientHealth {
  /**
   * - `ok`: everybody is served
   * - `degraded`: some are not: the provider does not answer, so that nobody can sign in and what is stored works while access tokens
   *   last; or the store holds records that our keys do not open
   * - `down`: the store does not answer
   */
  readonly status: 'ok' | 'degraded' | 'down'
  /** `unchecked` where it has no address that can be asked without an effect. */
  readonly provider: 'ok' | 'down' | 'unchecked'
  /** `none` with `storage: 'session'`. */
  readonly store: 'ok' | 'down' | 'none'
  /** `unchecked` where the store keeps no list of the keys in use, or does not answer. */
  readonly keys: 'ok' | 'missing' | 'unchecked'
}

/** How long a look may take, and how long it is good for. {@link ClientHealth} is what it finds. */
export interface HealthOptions {
  /** Milliseconds that each check may take. Default 2,000. */
  readonly timeout?: number
  /** Seconds for which an answer is given again. Default 5. */
  readonly cacheMaxAge?: number
}

interface Known {
  readonly at: number
  readonly health: Promise<ClientHealth>
  /** Set when it is not under way any more. */
  over: boolean
}

/** What was found last, for whoever asks: probes come in numbers, and none of them is worth a request to a provider. */
const found = new WeakMap<Client, Known>()

/** @throws {OptionError} */
export function checkHealthOptions({ timeout, cacheMaxAge }: HealthOptions): void {
  milliseconds('timeout', timeout)
  numberOf('cacheMaxAge', cacheMaxAge, 0)
}

/** However many ask, one look is under way, and whatever it finds is an answer. @throws {OptionError} */
export async function healthOf(client: Client, options: HealthOptions = {}): Promise<ClientHealth> {
  checkHealthOptions(options)
  const { timeout = 2_000, cacheMaxAge = 5 } = options
  const now = client.options.clock()
  const known = found.get(client)
  if (known && (!known.over || Math.abs(now - known.at) < cacheMaxAge * 1000)) return known.health
  const fresh: Known = { at: now, health: look(client, timeout), over: false }
  found.set(client, fresh)
  void fresh.health.then(() => {
    fresh.over = true
  })
  return fresh.health
}

async function look(client: Client, timeout: number): Promise<ClientHealth> {
  const [provider, stored] = await Promise.all([
    within(timeout, () => askProvider(client.options.provider)).catch(() => 'down' as const),
    lookAtStore(client, timeout),
  ])
  // A key that is missing concerns those whose records it sealed. Any writer to the store can note one, and that must not take all
  // instances out of service.
  const degraded = provider === 'down' || stored.keys === 'missing'
  const status = stored.store === 'down' ? 'down' : degraded ? 'degraded' : 'ok'
  return { status, provider, ...stored }
}

async function lookAtStore(client: Client, timeout: number): Promise<Pick<ClientHealth, 'store' | 'keys'>> {
  const { manager, options } = client
  const { store, keys } = options
  if (!store) return { store: 'none', keys: 'ok' }
  try {
    // Reading the list of keys is as good a sign of life as any other read.
    await within(timeout, async () =>
      manager.registry ? manager.registry.check(keys) : void (await reach(() => store.get('health'))),
    )
    return { store: 'ok', keys: manager.registry ? 'ok' : 'unchecked' }
  } catch (error) {
    if (error instanceof KeyInUseError) return { store: 'ok', keys: 'missing' }
    return { store: 'down', keys: 'unchecked' }
  }
}

/** What takes longer goes on unseen, and is bounded by its own deadline. */
async function within<T>(timeout: number, run: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), timeout)
  })
  try {
    return await Promise.race([run(), tooLate])
  } finally {
    clearTimeout(timer)
  }
}
