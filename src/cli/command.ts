/**
 * What every command of `oauth2client` is made of. A command is a function of its arguments and of what it may touch, and
 * resolves to an exit code; only `cli/bin` knows the process.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { OAuth2ClientError } from '../errors.js'

/** Where text goes, such as `process.stdout`. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
}

/** All that a command may touch. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  /** Read by commands that a person answers. */
  readonly stdin?: NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined }
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

export const OK = 0
/** It was understood and could not be done. */
export const FAILED = 1
/** It makes no sense as it was written. */
export const USAGE = 2

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  readonly help: string
  run(args: readonly string[], io: Io): Promise<number>
}

/** Thrown by a command that was called wrongly: exit code 2. Every other error is exit code 1. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>
type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O }>>['values']

const HELP = { help: { type: 'boolean', short: 'h' } } as const

/**
 * Makes a command: reads its arguments, answers `--help` and turns whatever is thrown into one line on stderr and an exit
 * code.
 *
 * @param spec.options as `parseArgs` of `node:util` wants them; `--help` is added
 * @param spec.positionals how many arguments without a name there may be, 0 by default
 * @param spec.run resolves to the exit code
 */
export function defineCommand<const O extends Options>(spec: {
  readonly name: string
  readonly summary: string
  readonly help: string
  readonly options: O
  readonly positionals?: number
  run(values: Values<O>, io: Io, positionals: readonly string[]): Promise<number>
}): Command {
  const { name, summary, help, positionals: allowed = 0 } = spec
  return {
    name,
    summary,
    help,
    async run(args, io) {
      try {
        // Arguments without a name are counted here: the message of parseArgs would repeat them, password and all.
        const options = { ...spec.options, ...HELP }
        const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
        if ((values as { help?: boolean }).help) {
          io.stdout.write(help)
          return OK
        }
        if (positionals.length > allowed) {
          throw new UsageError(`takes ${allowed || 'no'} arguments without a name, and got ${positionals.length}.`)
        }
        return await spec.run(values as Values<O>, io, positionals)
      } catch (error) {
        return report(name, error, io)
      }
    },
  }
}

/** Says what went wrong, in one line, and resolves to the exit code. */
export function report(name: string, error: unknown, io: Io): number {
  const usage = error instanceof UsageError || codeOf(error).startsWith('ERR_PARSE_ARGS_')
  const program = name ? `oauth2client ${name}` : 'oauth2client'
  const hint = usage ? ` See ${program} --help` : ''
  io.stderr.write(`${program}: ${describe(error)}${hint}\n`)
  return usage ? USAGE : FAILED
}

/**
 * Text of a provider's, such as an e-mail address, without what would move the cursor of a terminal or reorder its line. JSON
 * is for programs and left as it is.
 */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, '')
}

/** One line, without what stands between `//` and `@` in an address. */
function describe(error: unknown): string {
  let text = error instanceof Error ? error.message : String(error)
  // A host name with several addresses, none of which answers: Node says so in the parts only.
  if (error instanceof AggregateError && text === '') text = error.errors.map((part) => part.message).join('; ')
  if (error instanceof OAuth2ClientError) text += ` (${error.code})${TELLING.has(error.code) ? causes(error) : ''}`
  return printable((text || codeOf(error) || 'failed').replace(/\s*\n\s*/g, ' ')).replace(/\/\/\S*@/g, '//***@')
}

/** Errors whose message is made for people on a web page; whoever is at a terminal is the one to see the cause. */
const TELLING = new Set([
  'FST_OAUTH2_STORE_UNAVAILABLE',
  'FST_OAUTH2_PROVIDER_UNAVAILABLE',
  'FST_OAUTH2_CREDENTIALS_UNREADABLE',
  'FST_OAUTH2_CREDENTIALS_REQUIRED',
  'FST_OAUTH2_INSUFFICIENT_SCOPE',
  'FST_OAUTH2_CLIENT_REJECTED',
  'FST_OAUTH2_EXCHANGE_FAILED',
])

function causes({ cause }: Error): string {
  if (!(cause instanceof Error)) return ''
  return `: ${cause.message || codeOf(cause) || cause.name}${causes(cause)}`
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? '')
}
