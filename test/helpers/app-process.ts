/** Apps with the plugin, each in a process of its own, over one store and one provider. */
import { compileSources, type Ended, ended } from './processes.js'
import type { StoreTask } from './shared-store.js'
import type { StrictProvider } from './strict-provider.js'
import type { Answer, UserApp } from './user-app.js'

export interface AppTask {
  readonly provider: StrictProvider['options']
  readonly store: StoreTask
  /** Milliseconds for each call to the provider. Default 10,000. */
  readonly timeout?: number
}

/** Where a process can be made to kill itself. */
export type DeathPoint =
  | 'before the lock'
  | 'holding the lock'
  | 'claim written'
  | 'before the request'
  | 'answer received'
  | 'before the write'
  | 'after the write'

/** What a process does when told. */
export interface Commands {
  /** Makes the tables. */
  prepare(): Promise<void>
  /** Removes the tables. */
  remove(): Promise<void>
  adopt: UserApp['adopt']
  change(options: {
    /** Milliseconds by which this process's clock is ahead: access tokens expire by that. */
    ahead?: number
    /** Whether the store has locks. */
    locks?: boolean
    /** What leases are worth, where there are locks. */
    leases?: 'kept' | 'over at once' | 'failing'
    dieAt?: DeathPoint
  }): Promise<void>
  /** That many requests at the moment `at`; what they were answered, and how often. */
  storm(options: { user: string; requests: number; at: number }): Promise<Record<string, number>>
  request(options: { user: string; headers?: Record<string, string> }): Promise<Answer>
  /** For one user, the store's clock moves on by that many milliseconds. */
  moveOn(options: { user: string; ms: number }): Promise<void>
  /** Has the access token replaced though it works; resolves to the new one. */
  renew(options: { user: string }): Promise<string>
  stored(options: { user: string }): Promise<{ status: string | undefined; reason: string | undefined }>
  close(): Promise<void>
}

export class AppProcess {
  /** How it ended. */
  readonly end: Promise<Ended>
  readonly #child
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>()
  #messages = 0

  /** @internal */
  constructor(child: import('node:child_process').ChildProcess) {
    this.#child = child
    this.end = ended(child)
    child.on('message', ({ id, result, error }: { id: number; result: never; error?: string }) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    this.end.then(({ output, signal }) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the process ended: ${signal} ${output}`))
    })
  }

  /** Rejects when the process dies before it has answered. */
  tell<Name extends keyof Commands>(name: Name, ...[options]: Parameters<Commands[Name]>): ReturnType<Commands[Name]> {
    this.#messages += 1
    const id = this.#messages
    const answer = this.answerTo(id)
    this.#child.send({ id, name, options })
    return answer as ReturnType<Commands[Name]>
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    await this.tell('close').catch(() => {})
    await this.end
  }

  /** @internal */
  answerTo(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }
}

export interface AppProcesses {
  /** Resolves when it is ready. */
  start(task: AppTask): Promise<AppProcess>
  remove(): Promise<void>
}

export async function compileApps(): Promise<AppProcesses> {
  const { start, remove } = await compileSources(['test/helpers/app-child'])
  return {
    remove,
    async start(task) {
      const app = new AppProcess(start('test/helpers/app-child.js', task, { talk: true }))
      await app.answerTo(0)
      return app
    },
  }
}
