/**
 * A provider that is hostile down to the bytes. It stands in front of a scripted one, which answers whatever is not spoiled, so
 * that every endpoint can go wrong by itself.
 */
import { once } from 'node:events'
import { request as forward } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { onTestFinished } from 'vitest'
import { type Endpoint, type ScriptedProvider, startScriptedProvider } from './scripted-provider.js'

/** Does to a connection whatever it likes, once the request is in. */
export type Attack = (socket: Socket) => unknown

export class EvilProvider {
  /** What happens at an endpoint. */
  readonly attacks: { [endpoint in Endpoint]?: Attack | undefined } = {}
  readonly scripted: ScriptedProvider
  /** Requests that were attacked. */
  attacked = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(scripted: ScriptedProvider) {
    this.scripted = scripted
    const inner = new URL(scripted.issuer)
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
      this.#serve(socket, inner).catch(() => socket.destroy())
    })
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.scripted.issuer = `http://localhost:${(this.#server.address() as { port: number }).port}`
    return this
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  async #serve(socket: Socket, inner: URL): Promise<void> {
    const { head, body } = await read(socket)
    const [method = '', target = ''] = head.split(' ', 2)
    const path = target.split('?')[0] as string
    const [endpoint] = Object.entries(this.scripted.paths).find(([, at]) => at === path) ?? []
    const attack = this.attacks[endpoint as Endpoint]
    if (attack) {
      this.attacked += 1
      await attack(socket)
      return
    }
    const headers = Object.fromEntries(
      head
        .split('\r\n')
        .slice(1)
        .map((line) => line.split(/:\s*(.*)/s, 2) as [string, string]),
    )
    const request = forward(
      { hostname: '127.0.0.1', port: inner.port, method, path: target, headers, agent: false },
      (answer) => {
        const lines = Object.entries(answer.headers).filter(
          ([name]) => !/^(transfer-encoding|connection|keep-alive)$/.test(name),
        )
        socket.write(
          `HTTP/1.1 ${answer.statusCode} OK\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}connection: close\r\n\r\n`,
        )
        answer.pipe(socket)
      },
    )
    request.on('error', () => socket.destroy()).end(body)
  }
}

/** The scripted provider has the hostile one's address. */
export async function startEvilProvider(): Promise<EvilProvider> {
  const scripted = await startScriptedProvider()
  const evil = await new EvilProvider(scripted).listen()
  onTestFinished(async () => {
    evil.close()
    await scripted.close()
  })
  return evil
}

async function read(socket: Socket): Promise<{ head: string; body: string }> {
  let text = ''
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    text += chunk.toString('latin1')
    const [head = '', body] = text.split(/\r\n\r\n(.*)/s)
    const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
    if (body !== undefined && body.length >= length) return { head, body }
  }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n'
/** What all of them would like to have believed. */
const TOKENS = '"access_token":"at-canary-evil","token_type":"Bearer","expires_in":3600'

/** Answers with these bytes, and their length. */
export function bytes(body: string | Buffer, headers = ''): Attack {
  const content = Buffer.from(body)
  return (socket) =>
    socket.end(Buffer.concat([Buffer.from(`${OK}${headers}content-length: ${content.length}\r\n\r\n`), content]))
}

/** One byte at a time, forever. */
const trickle =
  (start: string, byte: string): Attack =>
  async (socket) => {
    socket.write(start)
    while (!socket.destroyed) {
      socket.write(byte)
      await sleep(20)
    }
  }

/** So many bytes, as fast as they are taken. */
export const flood =
  (start: string, total: number, sent: (bytes: number) => void = () => {}): Attack =>
  async (socket) => {
    socket.write(start)
    const chunk = Buffer.alloc(64 * 1024, 'x')
    for (let size = 0; size < total && !socket.destroyed; size += chunk.length) {
      const room = socket.write(chunk)
      sent(chunk.length)
      if (!room) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
    socket.end()
  }

const MB = 1024 * 1024
const blank = Buffer.alloc(100 * MB, ' ')
const bomb = gzipSync(blank, { level: 1 })
const brotliBomb = brotliCompressSync(blank, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })

/** Answers of which none may be believed, waited for without end, or kept in memory. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  'a reset at once': (socket) => socket.resetAndDestroy(),
  'an end without a word': (socket) => socket.end(),
  'a reset in the status line': (socket) => socket.write('HTTP/1.1 2', () => socket.resetAndDestroy()),
  'a reset in the headers': (socket) => socket.write(`${OK}x-y: `, () => socket.resetAndDestroy()),
  'a reset in the body': (socket) =>
    socket.write(`${OK}content-length: 9999\r\n\r\n{${TOKENS}`, () => socket.resetAndDestroy()),
  'an end in the body': (socket) => socket.end(`${OK}content-length: 9999\r\n\r\n{${TOKENS}}`),
  'no answer': () => {},
  'headers byte by byte': trickle(`${OK}x-slow: `, 'x'),
  'a body byte by byte': trickle(`${OK}content-length: 99999\r\n\r\n{${TOKENS},"x":"`, 'x'),
  'interim answers without end': trickle('', 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'),
  'another protocol': (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
  'an answer without headers': (socket) => socket.end(`{${TOKENS}}`),
  'a header of a megabyte': flood(`${OK}x-large: `, MB),
  'headers by the thousand': (socket) => socket.end(`${OK}${'x-many: 1\r\n'.repeat(20_000)}\r\n{${TOKENS}}`),
  'chunks of nonsense': (socket) => socket.end(`${OK}transfer-encoding: chunked\r\n\r\nzz\r\n{${TOKENS}}\r\n0\r\n\r\n`),
  'a chunk without end': flood(`${OK}transfer-encoding: chunked\r\n\r\nfffffffe\r\n`, 20 * MB),
  'two lengths': (socket) => socket.end(`${OK}content-length: 5\r\ncontent-length: 7\r\n\r\n{${TOKENS}}`),
  '200 MB': flood(`${OK}\r\n{${TOKENS},"x":"`, 200 * MB),
  '100 MB in a small gzip': bytes(bomb, 'content-encoding: gzip\r\n'),
  'a gzip of a gzip': bytes(gzipSync(bomb), 'content-encoding: gzip, gzip\r\n'),
  '100 MB in a small brotli': bytes(brotliBomb, 'content-encoding: br\r\n'),
  'a gzip that is none': bytes('not gzip', 'content-encoding: gzip\r\n'),
  'half of a gzip': bytes(gzipSync(`{${TOKENS}}`).subarray(0, 30), 'content-encoding: gzip\r\n'),
  'half JSON': bytes(`{${TOKENS}`),
  'JSON and more': bytes(`{${TOKENS}}{}`),
  'a NUL in JSON': bytes(`{${TOKENS}\0}`),
  'a byte order mark': bytes('\uFEFF'),
  'UTF-16': bytes(Buffer.from(`{${TOKENS}}`, 'utf16le')),
  'bytes that are no text': bytes(Buffer.from([0xff, 0xfe, 0xfd, 0x80, 0x81])),
  'lists in lists in lists': bytes('['.repeat(100_000) + ']'.repeat(100_000)),
  'objects in objects': bytes(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
  '80,000 members': bytes(`{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join(',')}}`),
  'a million members': bytes(`{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":1`).join(',')}}`),
  'a page': bytes('<!doctype html><title>Sign in to the hotel network</title>'),
  'a redirect elsewhere': (socket) =>
    socket.end(
      'HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:9/elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
    ),
  'a success of another kind': (socket) =>
    socket.end(`HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{${TOKENS}}`),
  'nothing, successfully': (socket) => socket.end('HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n'),
  'a status of its own': (socket) =>
    socket.end('HTTP/1.1 599 Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'),
}
