/** One line of what `oauth2client doctor` says. */
export interface Finding {
  /** `bad` will not work, `warn` may not, `unknown` could not be looked at. */
  readonly level: 'ok' | 'warn' | 'bad' | 'unknown'
  /** What was looked at. */
  readonly check: string
  /** What is there; otherwise what is wrong, and what to write. */
  readonly text: string
}

export const ok = (check: string, text: string): Finding => ({ level: 'ok', check, text })
export const warn = (check: string, text: string): Finding => ({ level: 'warn', check, text })
export const bad = (check: string, text: string): Finding => ({ level: 'bad', check, text })
export const unknown = (check: string, text: string): Finding => ({ level: 'unknown', check, text })

/** The message of an error with those of its causes, of which a command line shows what a web page does not. */
export function messageOf(error: unknown): string {
  const parts: string[] = []
  for (let e = error; e instanceof Error && parts.length < 4; e = e.cause) parts.push(e.message || e.name)
  return parts.join(': ').replace(/\s*\n\s*/g, ' ')
}
