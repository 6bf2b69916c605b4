/** A service account that was never anybody's, and a token endpoint that knows it. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose'

export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface LocalServer {
  readonly origin: string
  readonly received: Received[]
  close(): Promise<void>
}

export type Answer = { status?: number; headers?: Record<string, string>; body?: unknown } | 'drop'

/** A server on this machine that answers what it is told to. */
export async function serve(answer: (request: Received) => Answer | Promise<Answer>): Promise<LocalServer> {
  const received: Received[] = []
  const server: Server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', url = '', headers } = request
    received.push({ method, url, headers, body })
    const told = await answer({ method, url, headers, body })
    if (told === 'drop') {
      request.socket.destroy()
      return
    }
    const text = typeof told.body === 'string' ? told.body : JSON.stringify(told.body ?? {})
    response.writeHead(told.status ?? 200, { 'content-type': 'application/json', ...told.headers }).end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    received,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const EMAIL = 'robot@project.iam.gserviceaccount.com'

export interface TestKey {
  readonly publicKey: KeyObject
  /** What is in the key file. */
  readonly json: Record<string, unknown>
}

export function makeKey(members: Record<string, unknown> = {}): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const json = {
    type: 'service_account',
    project_id: 'project',
    private_key_id: 'key-1',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    client_email: EMAIL,
    client_id: '1',
    ...members,
  }
  return { publicKey, json }
}

export interface TokenServer extends LocalServer {
  /** Claims and headers of the assertions that came in. */
  readonly assertions: { claims: JWTPayload; header: ProtectedHeaderParameters }[]
  /** What to answer the next requests, in the place of a token. */
  readonly instead: Answer[]
}

/** Answers each valid assertion with `token-1`, `token-2` and so on, for an hour. */
export async function startTokenServer(publicKey: KeyObject, clock: () => number = Date.now): Promise<TokenServer> {
  const assertions: TokenServer['assertions'] = []
  const instead: Answer[] = []
  const server = await serve(async ({ body }) => {
    const params = new URLSearchParams(body)
    if (params.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') return { status: 400 }
    const { payload, protectedHeader } = await jwtVerify(params.get('assertion') ?? '', publicKey, {
      currentDate: new Date(clock()),
    })
    assertions.push({ claims: payload, header: protectedHeader })
    return (
      instead.shift() ?? {
        body: { access_token: `token-${assertions.length}`, expires_in: 3600, token_type: 'Bearer' },
      }
    )
  })
  return { ...server, assertions, instead }
}
