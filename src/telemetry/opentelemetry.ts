/** Spans and metrics of OpenTelemetry. `docs/observability.md` lists them; the dashboard and the alerts are made of them. */
import type { Attributes, MeterProvider, Span, TracerProvider } from '@opentelemetry/api'
import { MissingPeerError } from '../errors.js'
import type { GuardOutcome, ProviderRequest, StoreCall, Telemetry, Watch } from './watch.js'

export type { GuardOutcome, ProviderEndpoint, ProviderRequest, StoreCall, Telemetry, Watch } from './watch.js'

/** Where {@link openTelemetry} sends spans and metrics. */
export interface OpenTelemetryOptions {
  /** Of spans. Default: the one that an SDK registered. */
  readonly tracerProvider?: TracerProvider
  /** Of metrics. Default: the one that an SDK registered. */
  readonly meterProvider?: MeterProvider
}

/** Seconds. The same as for HTTP in OpenTelemetry's semantic conventions. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const SCOPE = 'fastify-oauth2client'

/**
 * Telemetry for the option `telemetry`: of a program without Fastify, or for providers of your own. The plugin does this by
 * itself when an SDK was started before.
 *
 * @throws {MissingPeerError} without `@opentelemetry/api`
 * @example
 * ```ts
 * import { CredentialManager } from 'fastify-oauth2client/credentials'
 * import { openTelemetry } from 'fastify-oauth2client/opentelemetry'
 * import { google } from 'fastify-oauth2client/providers'
 * import { fileStore } from 'fastify-oauth2client/storage/file'
 *
 * const manager = new CredentialManager({
 *   provider: google(),
 *   clientSecretsFile: 'client_secrets.json',
 *   storage: fileStore({ path: 'credentials.json' }),
 *   encryptionKeys: [process.env.OAUTH2_KEY ?? ''],
 *   telemetry: await openTelemetry(),
 * })
 * await manager.close()
 * ```
 */
export async function openTelemetry({ tracerProvider, meterProvider }: OpenTelemetryOptions = {}): Promise<Telemetry> {
  const { context, metrics, SpanKind, SpanStatusCode, trace } = await import('@opentelemetry/api').catch(
    (cause: unknown) => {
      throw new MissingPeerError('@opentelemetry/api', '@opentelemetry/api', { cause })
    },
  )
  const tracer = (tracerProvider ?? trace.getTracerProvider()).getTracer(SCOPE)
  const meter = (meterProvider ?? metrics.getMeterProvider()).getMeter(SCOPE)
  const seconds = { unit: 's', advice: { explicitBucketBoundaries: BUCKETS } }
  const decisions = meter.createCounter('oauth2client.guard.decisions', {
    unit: '{decision}',
    description: 'Requests that guards let pass, sent to the provider, or refused',
  })
  const signIns = meter.createCounter('oauth2client.sign_ins', {
    unit: '{sign_in}',
    description: 'People who came back from the provider',
  })
  const failures = meter.createCounter('oauth2client.refresh.failures', {
    unit: '{failure}',
    description: 'Refreshes that brought no new token',
  })
  const refreshes = meter.createHistogram('oauth2client.refresh.duration', {
    ...seconds,
    description: 'How long it takes to have an access token that works, when one has to be refreshed',
  })
  const stored = meter.createHistogram('oauth2client.store.operation.duration', {
    ...seconds,
    description: 'How long calls of the credential store take',
  })
  const requested = meter.createHistogram('oauth2client.provider.request.duration', {
    ...seconds,
    description: 'How long the provider takes to answer',
  })

  /** Within a span, so that whatever else is traced meanwhile belongs to it. */
  async function spanned<T>(
    name: string,
    kind: number,
    attributes: Attributes,
    run: () => Promise<T>,
    end: (span: Span, duration: number, outcome: { readonly result?: T; readonly error?: string }) => void,
  ): Promise<T> {
    const startedAt = performance.now()
    const span = tracer.startSpan(name, { kind, attributes })
    const over = (outcome: { readonly result?: T; readonly error?: string }) => {
      // Neither a message nor a stack: what libraries write there is not for us to vouch for.
      if (outcome.error !== undefined) {
        span.setAttribute('error.type', outcome.error)
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
      end(span, (performance.now() - startedAt) / 1000, outcome)
      span.end()
    }
    try {
      const result = await context.with(trace.setSpan(context.active(), span), run)
      over({ result })
      return result
    } catch (error) {
      over({ error: errorType(error) })
      throw error
    }
  }

  return {
    watch(client): Watch {
      const base = { 'oauth2client.client': client }
      const allowed = { ...base, 'oauth2client.guard.outcome': 'allowed' }
      return {
        guard(outcome: GuardOutcome, code) {
          decisions.add(
            1,
            outcome === 'allowed' ? allowed : withError({ ...base, 'oauth2client.guard.outcome': outcome }, code),
          )
        },
        signIn: (outcome, code) =>
          signIns.add(1, withError({ ...base, 'oauth2client.sign_in.outcome': outcome }, code)),
        refreshFailed: (code, reason) =>
          failures.add(1, withError({ ...base, ...(reason && { 'oauth2client.refresh.reason': reason }) }, code)),
        refresh: (run) =>
          spanned('oauth2client.refresh', SpanKind.INTERNAL, base, run, (_span, duration, { error }) =>
            refreshes.record(duration, withError(base, error)),
          ),
        callback: (run) => spanned('oauth2client.callback', SpanKind.INTERNAL, base, run, () => {}),
        store({ operation, store }: StoreCall, run) {
          const attributes = { ...base, 'oauth2client.store.name': store, 'oauth2client.store.operation': operation }
          return spanned(
            `oauth2client.store ${operation}`,
            SpanKind.CLIENT,
            attributes,
            run,
            (_span, duration, { error }) => stored.record(duration, withError(attributes, error)),
          )
        },
        request({ endpoint, grantType, method, server }: ProviderRequest, run) {
          const attributes = {
            ...base,
            'oauth2client.provider.endpoint': endpoint,
            ...(grantType && { 'oauth2client.grant_type': grantType }),
            'http.request.method': method,
            'server.address': server.hostname,
            'server.port': Number(server.port || (server.protocol === 'http:' ? 80 : 443)),
          }
          const name = `oauth2client.provider ${endpoint}`
          return spanned(name, SpanKind.CLIENT, attributes, run, (span, duration, { result, error }) => {
            const status = result && { 'http.response.status_code': result.status }
            const failed = result && result.status >= 400 ? String(result.status) : error
            if (status) span.setAttributes(status)
            if (result && failed !== undefined) {
              span.setAttribute('error.type', failed)
              span.setStatus({ code: SpanStatusCode.ERROR })
            }
            requested.record(duration, withError({ ...attributes, ...status }, failed))
          })
        },
      }
    },
  }
}

function withError(attributes: Attributes, error: string | undefined): Attributes {
  return error === undefined ? attributes : { ...attributes, 'error.type': error }
}

/** A code, else a class: words of programs, and few of them. Whatever looks otherwise may hold anything. */
function errorType(error: unknown): string {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown }
  for (const word of [code, name]) if (typeof word === 'string' && /^[A-Za-z]\w{1,47}$/.test(word)) return word
  return '_OTHER'
}
