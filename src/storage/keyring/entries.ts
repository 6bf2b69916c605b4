/**
 * Texts of any length in the keyring of the operating system, each under an id that is used once. Called by `storage/keyring`
 * only.
 *
 * Windows takes 2,560 bytes for one entry, so texts are cut into parts. Nothing is ever written over, so a part cannot be of
 * another text than its neighbours, whoever writes at the same time.
 */

import { randomBytes } from 'node:crypto'
import type { AsyncEntry } from '@napi-rs/keyring'
import { BoundedMap } from '../../bounded-map.js'
import { KeyringUnavailableError, MissingPeerError } from '../../errors.js'
import { unreadable } from '../file/contents.js'

type Keyring = typeof import('@napi-rs/keyring')

const VERSION = 1
/** In the names of entries, for people who look at their keyring. The id is what counts. */
const LABEL_LENGTH = 80

/** On Linux each object for an entry makes a connection of its own, and keeps it until it is garbage. */
const OPENED = 64

export interface Entries {
  /** Writes a text and resolves to what finds it again. */
  add(key: string, value: string): Promise<string>
  /** `undefined` when it is not there. @throws {CredentialsUnreadableError} when only some of it is, or something else */
  read(key: string, pointer: string): Promise<string | undefined>
  /** Whether it is there, as far as that can be told without reading all of it. */
  has(key: string, pointer: string): Promise<true | undefined>
  /** Removes a text. That it is gone already, or that the keyring refuses, makes no difference: nothing points to it. */
  remove(key: string, pointer: string): Promise<void>
}

/** @param partLength how many UTF-16 units, all of them ASCII, go into one entry */
export function keyringEntries(service: string, partLength: number): Entries {
  let loading: Promise<Keyring> | undefined
  const opened = new BoundedMap<string, AsyncEntry>(OPENED)

  async function entry(key: string, id: string, part: number): Promise<AsyncEntry> {
    loading ??= loadKeyring().catch((error: unknown) => {
      loading = undefined
      throw error
    })
    const { AsyncEntry } = await loading
    // Windows knows no upper and lower case here, and the Secret Service ends names at a null character: the id is of
    // neither kind, and the label is for the eye.
    const label = key.replace(/[^\w@.:/+-]/g, '_').slice(0, LABEL_LENGTH)
    const account = `${label} ${id}.${part}`
    // Without the option, a Linux machine without a Secret Service would get the kernel's keyring, which forgets.
    const found = opened.get(account) ?? new AsyncEntry(service, account, { linux: { store: 'secret-service' } })
    opened.set(account, found)
    return found
  }

  const passwordOf = (key: string, id: string, part: number) =>
    reachable(async () => (await entry(key, id, part)).getPassword())

  return {
    async add(key, value) {
      const id = randomBytes(12).toString('hex')
      const text = toAscii(JSON.stringify({ v: VERSION, key, value }))
      const parts = Math.max(1, Math.ceil(text.length / partLength))
      const pointer = `${id}.${parts}`
      try {
        for (let part = 0; part < parts; part++) {
          const password = text.slice(part * partLength, (part + 1) * partLength)
          await reachable(async () => (await entry(key, id, part)).setPassword(password))
        }
      } catch (error) {
        await this.remove(key, pointer)
        throw error
      }
      return pointer
    },

    async read(key, pointer) {
      const { id, parts } = parsePointer(pointer)
      let text = ''
      for (let part = 0; part < parts; part++) {
        const password = await passwordOf(key, id, part)
        if (typeof password !== 'string') {
          if (part === 0) return undefined
          throw damaged(`entry ${part + 1} of ${parts} is missing`)
        }
        text += password
      }
      return parseText(text, key)
    },

    async has(key, pointer) {
      const { id } = parsePointer(pointer)
      return typeof (await passwordOf(key, id, 0)) === 'string' ? true : undefined
    },

    async remove(key, pointer) {
      const { id, parts } = parsePointer(pointer)
      // The first one last: as long as it is there, somebody may be reading.
      for (let part = parts - 1; part >= 0; part--) {
        await reachable(async () => (await entry(key, id, part)).deletePassword()).catch(() => undefined)
      }
    },
  }
}

async function loadKeyring(): Promise<Keyring> {
  try {
    return await import('@napi-rs/keyring')
  } catch (cause) {
    // The package is there without its binary on platforms that it has none for; then there is no keyring.
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw new KeyringUnavailableError({ cause })
    throw new MissingPeerError('@napi-rs/keyring', '@napi-rs/keyring', { cause })
  }
}

async function reachable<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (cause) {
    if (cause instanceof MissingPeerError || cause instanceof KeyringUnavailableError) throw cause
    throw new KeyringUnavailableError({ cause })
  }
}

/** A pair of UTF-16 units could be cut in two, and halves do not survive the way through UTF-8. */
function toAscii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function parseText(text: string, key: string): string {
  let json: { v?: unknown; key?: unknown; value?: unknown } | null
  try {
    json = JSON.parse(text)
  } catch {
    throw damaged('it is not what was written')
  }
  if (Number(json?.v) > VERSION)
    throw unreadable('newer_version', 'The entry in the keyring is of a later version. Upgrade.')
  if (json?.v !== VERSION || json.key !== key || typeof json.value !== 'string') throw damaged('it is something else')
  return json.value
}

function parsePointer(pointer: string): { id: string; parts: number } {
  const match = /^([0-9a-f]{24})\.(\d{1,6})$/.exec(pointer)
  if (!match) throw damaged('the file beside the keyring says nothing that could be found')
  return { id: match[1] as string, parts: Number(match[2]) }
}

function damaged(problem: string): Error {
  return unreadable('damaged', `The entry in the keyring cannot be read: ${problem}. Delete it, and sign in again.`)
}
