/** Telemetry that nobody asked for, where somebody is there to receive it: an OpenTelemetry SDK that was started before. */
import type { Telemetry } from './watch.js'

/** Where every copy of `@opentelemetry/api` 1.x keeps what an SDK registered. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1')

/** Without an SDK nothing is loaded, and nothing is watched. @throws {MissingPeerError} */
export async function automaticTelemetry(): Promise<Telemetry | undefined> {
  const registered = (globalThis as { [REGISTERED]?: { readonly trace?: unknown; readonly metrics?: unknown } })[
    REGISTERED
  ]
  if (!registered?.trace && !registered?.metrics) return undefined
  const { openTelemetry } = await import('./opentelemetry.js')
  return openTelemetry()
}
