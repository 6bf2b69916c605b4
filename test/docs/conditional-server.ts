import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

/** A server of documents with the conditional requests of RFC 9110 section 13, as object storage has them. */
export interface ConditionalServer {
  readonly url: string
  /** Moves its clock. Like a rule of a bucket, it then removes documents without a value that are older than an hour. */
  advance(ms: number): void
  /** Answers everything with this status from now on. */
  fail(status: number): void
  /** How many requests there were. */
  requests(): number
  close(): Promise<void>
}

export async function startConditionalServer(): Promise<ConditionalServer> {
  const documents = new Map<string, { body: string; written: number }>()
  let ahead = 0
  let failing: number | undefined
  let requests = 0
  const now = () => Date.now() + ahead
  // Of the content, as many do: what is written twice has the same one twice.
  const etagOf = (body: string) => `"${createHash('md5').update(body).digest('hex')}"`

  async function answer(request: IncomingMessage): Promise<{ status: number; headers?: object; body?: string }> {
    const { method, url = '', headers } = request
    const body = await text(request)
    if (failing) return { status: failing }
    // From here on nothing is awaited, so nobody comes in between.
    const found = documents.get(url)
    if (method === 'GET') {
      if (!found) return { status: 404 }
      const lastModified = new Date(found.written).toUTCString()
      return { status: 200, headers: { etag: etagOf(found.body), 'last-modified': lastModified }, body: found.body }
    }
    if (method !== 'PUT') return { status: 405 }
    if (headers['if-none-match'] === '*' && found) return { status: 412 }
    if (headers['if-match'] !== undefined && (!found || headers['if-match'] !== etagOf(found.body)))
      return { status: 412 }
    documents.set(url, { body, written: now() })
    return { status: 204 }
  }

  const server = createServer((request, response) => {
    requests += 1
    void answer(request).then(({ status, headers, body }) => {
      response.writeHead(status, { date: new Date(now()).toUTCString(), ...headers }).end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/credentials`,
    advance(ms) {
      ahead += ms
      for (const [url, { body, written }] of documents) {
        if (now() - written > 3_600_000 && JSON.parse(body).value === undefined) documents.delete(url)
      }
    },
    fail(status) {
      failing = status
    },
    requests: () => requests,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
