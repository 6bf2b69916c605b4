import type { ServerResponse } from 'node:http'

/** What an endpoint answers. Objects are sent as JSON; strings and buffers as they are. */
export interface Answer {
  status?: number
  headers?: Record<string, string>
  body?: object | string | Buffer
  /** ms before it is sent. */
  delay?: number
  /** Never answers. */
  hang?: true
  /** Cuts the connection instead of answering. */
  destroy?: true
}

export async function sendAnswer(response: ServerResponse, answer: Answer): Promise<void> {
  const { status = 200, body = '', delay } = answer
  if (delay !== undefined) await new Promise((resolve) => setTimeout(resolve, delay).unref())
  if (answer.hang) return
  if (answer.destroy) {
    response.destroy()
    return
  }
  const raw = typeof body === 'string' || Buffer.isBuffer(body)
  response.writeHead(status, {
    'cache-control': 'no-store',
    'content-type': raw ? 'text/plain' : 'application/json',
    ...lowerCased(answer.headers),
  })
  response.end(raw ? body : JSON.stringify(body))
}

function lowerCased(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
