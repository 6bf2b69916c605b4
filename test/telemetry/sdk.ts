/** The real SDK of OpenTelemetry, registered for the whole process, as an app does before it starts. */
import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { onTestFinished } from 'vitest'

class Reader extends MetricReader {
  protected async onForceFlush() {}
  protected async onShutdown() {}
}

export interface Point {
  readonly attributes: Readonly<Record<string, unknown>>
  /** Of a counter its sum, of a histogram how often something was recorded. */
  readonly count: number
}

export interface Sdk {
  /** Spans that are over, in the order in which they began. */
  spans(): ReadableSpan[]
  /** By the name of the metric. */
  points(): Promise<
    Record<string, { readonly unit: string; readonly kind: 'counter' | 'histogram'; readonly points: Point[] }>
  >
  /** Everything that leaves the process, to search in. */
  text(): Promise<string>
}

export function startSdk(): Sdk {
  const exporter = new InMemorySpanExporter()
  const reader = new Reader({ aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE })
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  onTestFinished(() => {
    for (const api of [trace, metrics, context]) api.disable()
  })
  const collected = async () => (await reader.collect()).resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  const spans = () => exporter.getFinishedSpans().sort((a, b) => compare(a.startTime, b.startTime))
  return {
    spans,
    points: async () =>
      Object.fromEntries(
        (await collected()).map(({ descriptor, dataPoints }) => {
          const points = dataPoints.map(({ attributes, value }) => {
            const histogram = typeof value === 'object'
            return { attributes, count: histogram ? (value as { count: number }).count : value, histogram }
          })
          const kind = points.some(({ histogram }) => histogram) ? ('histogram' as const) : ('counter' as const)
          return [
            descriptor.name,
            { unit: descriptor.unit, kind, points: points.map(({ histogram: _, ...rest }) => rest) },
          ]
        }),
      ),
    text: async () => {
      const told = spans().map(({ name, attributes, events, links, status }) => ({
        name,
        attributes,
        events,
        links,
        status,
      }))
      return JSON.stringify([told, await collected()])
    },
  }
}

const compare = ([a, an]: [number, number], [b, bn]: [number, number]) => a - b || an - bn
