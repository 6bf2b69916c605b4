import { main } from '../../src/cli/main.js'

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Runs the command line in this process. Nothing of the real environment gets in. */
export async function run(
  args: readonly string[],
  {
    env = {},
    cwd = process.cwd(),
    isTTY = false,
  }: { env?: Record<string, string>; cwd?: string; isTTY?: boolean } = {},
): Promise<Ran> {
  const ran: Ran = { code: -1, stdout: '', stderr: '' }
  const output = (name: 'stdout' | 'stderr') => ({
    isTTY,
    write(text: string) {
      ran[name] += text
    },
  })
  ran.code = await main(args, { stdout: output('stdout'), stderr: output('stderr'), env, cwd })
  return ran
}
