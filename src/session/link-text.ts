/**
 * What a session holds for its clients, as one short text: every request of the app has its session read, hashed or decrypted,
 * and a nested object costs it several times as much as the words in it.
 *
 *     <binding>|<client> <id> <user> <at> <sub> <sid> <kept> <proofs> <hash> <url> <hash> <url>|<client> ...
 */
import { BoundedMap } from '../bounded-map.js'
import type { SessionLink } from './session.js'

/** Characters of a state's hash that a link keeps: as many as nobody finds twice. */
const HASH_LENGTH = 22

/** A link without the credentials, which have a place of their own. */
export interface Link extends Omit<SessionLink, 'credentials'> {
  /** Whether there are any. */
  readonly kept?: boolean
}

/** How the hash of a state is called in a link. */
export const shortHash = (hash: string): string => hash.slice(0, HASH_LENGTH)

export function bindingIn(text: string): string | undefined {
  const end = text.indexOf('|')
  return (end < 0 ? text : text.slice(0, end)) || undefined
}

export function withBinding(text: string, binding: string): string {
  return [binding, ...text.split('|').slice(1)].join('|')
}

/** Names of the clients that have a link. */
export function clientsIn(text: string): string[] {
  return text
    .split('|')
    .slice(1)
    .map((entry) => entry.slice(0, entry.indexOf(' ')))
}

/** What was read last, by the text alone: a person's next request has the same. */
const known = new Map<string, BoundedMap<string, Link>>()
const KEPT = 1_000

/** The link of a client; none where an app has written over it what is none. */
export function linkIn(text: string, client: string): Link | undefined {
  const links = linksOf(client)
  const read = links.get(text)
  if (read) return read
  try {
    const link = parse(text, client)
    if (link) links.set(text, link)
    return link
  } catch {
    return undefined
  }
}

function linksOf(client: string): BoundedMap<string, Link> {
  const links = known.get(client)
  if (links) return links
  const made = new BoundedMap<string, Link>(KEPT)
  known.set(client, made)
  return made
}

function parse(text: string, client: string): Link | undefined {
  const start = text.indexOf(`|${client} `)
  if (start < 0) return undefined
  const end = text.indexOf('|', start + 1)
  const [, id, user, at, sub, sid, kept, proofs, ...done] = text.slice(start, end < 0 ? undefined : end).split(' ')
  if (!id) return undefined
  return Object.freeze({
    id: decode(id),
    ...(user ? { user: decode(user) } : {}),
    ...(at ? { at: Number.parseInt(at, 36) } : {}),
    ...(sub ? { sub: decode(sub) } : {}),
    ...(sid ? { sid: decode(sid) } : {}),
    ...(kept ? { kept: true } : {}),
    ...(proofs ? { proofs: JSON.parse(decode(proofs)) } : {}),
    ...(done.length > 1 ? { done: pairs(done) } : {}),
  })
}

/** @param link nothing takes it away */
export function withLink(text: string, client: string, link: Link | undefined): string {
  const [binding, ...entries] = text.split('|')
  const others = entries.filter((entry) => !entry.startsWith(`${client} `))
  return [binding, ...others, ...(link ? [entryOf(client, link)] : [])].join('|')
}

function entryOf(
  client: string,
  { id, user = '', at, sub = '', sid = '', kept, proofs = [], done = [] }: Link,
): string {
  const fields = [
    client,
    encode(id),
    encode(user),
    at === undefined ? '' : Math.floor(at).toString(36),
    encode(sub),
    encode(sid),
    kept ? '1' : '',
    proofs.length > 0 ? encode(JSON.stringify(proofs)) : '',
    ...done.flatMap(([hash, url]) => [shortHash(hash), encode(url)]),
  ]
  return fields.join(' ').trimEnd()
}

function pairs(words: readonly string[]): NonNullable<SessionLink['done']> {
  const found: [string, string][] = []
  for (let index = 0; index + 1 < words.length; index += 2) {
    found.push([words[index] as string, decode(words[index + 1] as string)])
  }
  return found
}

/** Half a surrogate pair, which is what a provider may call somebody, has no encoding of its own. */
function encode(text: string): string {
  return /\p{Surrogate}/u.test(text) ? `@${encodeURIComponent(JSON.stringify(text))}` : encodeURIComponent(text)
}

function decode(word: string): string {
  if (word.startsWith('@')) return JSON.parse(decodeURIComponent(word.slice(1)))
  return word.includes('%') ? decodeURIComponent(word) : word
}
