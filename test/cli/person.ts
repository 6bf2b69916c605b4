/** A person in front of `oauth2client login`: reads what it says, and does it in a browser. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import type { Overrides } from '../helpers/browser.js'
import { Browser, type Page } from '../helpers/browser.js'
import type { Ran } from './run.js'

/** What a process says, as it says it. */
export class Conversation {
  stdout = ''
  stderr = ''
  readonly #child: ChildProcessWithoutNullStreams
  readonly #closed: Promise<unknown[]>

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    this.#closed = once(child, 'close')
    child.stdout.on('data', (chunk) => {
      this.stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      this.stderr += chunk
    })
  }

  /** Resolves to what of stderr matches, as soon as something does. */
  async heard(pattern: RegExp): Promise<string> {
    for (;;) {
      const [, found] = pattern.exec(this.stderr) ?? []
      if (found !== undefined) return found
      const ended = await Promise.race([
        once(this.#child.stderr, 'data').then(() => false),
        this.#closed.then(() => true),
      ])
      if (ended && !pattern.test(this.stderr)) throw new Error(`it ended without saying ${pattern}: ${this.stderr}`)
    }
  }

  say(line: string): void {
    this.#child.stdin.end(`${line}\n`)
  }

  async ended(): Promise<Ran> {
    const [code] = await this.#closed
    return { code: Number(code), stdout: this.stdout, stderr: this.stderr }
  }
}

const NOBODY_THERE = (next: URL) => next.hostname === '127.0.0.1' && next.searchParams.has('state')

/** Signs in and allows what is ticked. `stay` ends before the browser goes back to the program. */
export async function signInAt(
  url: string,
  {
    user = 'alice',
    consent = {},
    form = 0,
    stay = false,
  }: { user?: string; consent?: Overrides; form?: number; stay?: boolean } = {},
): Promise<Page> {
  const browser = new Browser()
  const options = stay ? { stopAt: NOBODY_THERE } : {}
  let page = await browser.goto(url, options)
  page = await browser.submit(page, 0, { username: user, password: 'password' }, options)
  // What was allowed before is not asked again.
  return page.forms.length > 0 ? browser.submit(page, form, consent, options) : page
}

/** Enters the code of a device. */
export async function enterCode(verificationUri: string, userCode: string): Promise<Page> {
  const browser = new Browser()
  const confirm = await browser.submit(await browser.goto(verificationUri), 0, { user_code: userCode })
  const signIn = await browser.submit(confirm)
  return browser.submit(await browser.submit(signIn, 0, { username: 'alice', password: 'password' }))
}
