/** Telemetry that nobody asked for, where somebody is there to receive it: an OpenTelemetry SDK that was started before. */
import { MissingPeerError } from '../errors.js'
import type { Telemetry } from './watch.js'

/** Where every copy of `@opentelemetry/api` 1.x keeps what an SDK registered. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1')

/**
 * Without an SDK nothing is loaded, and nothing is watched.
 *
 * @param warn told when there is one that we cannot reach: nobody asked for this, so it is no reason not to start
 */
export async function automaticTelemetry(warn: (message: string) => void): Promise<Telemetry | undefined> {
  const global = globalThis as { [REGISTERED]?: { readonly trace?: unknown; readonly metrics?: unknown } }
  const registered = global[REGISTERED]
  if (!registered?.trace && !registered?.metrics) return undefined
  const { openTelemetry } = await import('./opentelemetry.js')
  try {
    return await openTelemetry()
  } catch (error) {
    if (!(error instanceof MissingPeerError)) throw error
    warn(`${error.message} (or set telemetry: false)`)
    return undefined
  }
}
