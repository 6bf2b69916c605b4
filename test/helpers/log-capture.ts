export interface LogCapture {
  /** For `Fastify({ logger })`. */
  readonly logger: { level: string; stream: { write(line: string): void } }
  /** One JSON document a line, as pino wrote it. */
  readonly lines: string[]
  /** Everything at once, to search in. */
  text(): string
}

/** Captures every line: a secret that only shows at `trace` is a leak all the same. */
export function captureLogs(level = 'trace'): LogCapture {
  const lines: string[] = []
  return {
    logger: {
      level,
      stream: {
        write(line) {
          lines.push(line)
        },
      },
    },
    lines,
    text: () => lines.join(''),
  }
}
