/** The example app as it starts by itself, but on free ports and in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { buildApp } from '../../example-app/src/app.js'
import { startAuthorizationServer } from '../../example-app/src/authorization-server.js'
import type { AuthorizationServer } from '../../src/testing/index.js'
import { listen } from '../helpers/listen.js'

export interface RunningExample {
  readonly url: string
  readonly server: AuthorizationServer
  readonly dataDir: string
  /** Both servers stop and start again, on the same ports and with the same data. */
  restart(): Promise<RunningExample>
}

export async function startExample(before?: { dataDir: string; port: number; serverPort: number }) {
  const dataDir = before?.dataDir ?? (await mkdtemp(join(tmpdir(), 'example-app-')))
  if (!before) onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const { server, service } = await startAuthorizationServer({ port: before?.serverPort ?? 0, dataDir })
  const app = await buildApp({ service, dataDir })
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= app.close().then(() => server.close())
    return stopped
  }
  onTestFinished(stop)
  let url: string
  if (before) {
    await app.listen({ host: '127.0.0.1', port: before.port })
    url = `http://localhost:${before.port}`
  } else {
    url = await listen(app)
  }
  const running: RunningExample = {
    url,
    server,
    dataDir,
    async restart() {
      const { port } = app.server.address() as AddressInfo
      await stop()
      return startExample({ dataDir, port, serverPort: Number(new URL(server.issuer).port) })
    },
  }
  return running
}
