/**
 * Reads and replaces a file that several processes write to. Called by `storage/file` only.
 *
 * A writer makes the directory `<file>.lock`, puts a draft into it, reads the file, completes the draft and renames it
 * over the file. The rename is the commit, and it works only while the draft is where it was put. Whoever finds a
 * directory in which nothing moves for a while takes it for a dead process's, removes the drafts in it, and only then
 * reads the file. If that process was merely asleep, its rename fails and it begins again: so no update is lost, however
 * long anybody sleeps at any point and whatever clocks say. Time only decides how soon a dead writer is replaced.
 *
 * Libraries such as `proper-lockfile` cannot promise that. Of two processes that find a stale lock, one may remove the
 * lock that the other has just taken; and a process that oversleeps finds out only after it has written.
 */
import { randomBytes } from 'node:crypto'
import { constants, type FileHandle, lstat, mkdir, open, readdir, rename, rmdir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OAuth2ClientError, StoreUnavailableError } from '../../errors.js'
import { damaged, unreadable } from './contents.js'

/** How long nothing moves before a lock is taken for one of the dead. Far longer than a write takes. */
const STALE_MS = 3000
/** How long a writer waits for its turn. */
const PATIENCE_MS = 10_000
const POLL_MS = 10
const DRAFT = /^[0-9a-f]{24}\.draft$/

const codeOf = (error: unknown) => String((error as { code?: unknown }).code)

/** Resolves to `undefined` instead of rejecting with one of these codes of the system. */
async function unless<T>(codes: readonly string[], work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (codes.includes(codeOf(error))) return undefined
    throw error
  }
}

/** The text of the file, or `undefined` when there is none. Takes its group's and everybody's permissions away. */
export async function readTightly(file: string): Promise<string | undefined> {
  try {
    return await read(file)
  } catch (error) {
    throw explained(file, error)
  }
}

async function read(file: string): Promise<string | undefined> {
  let handle: FileHandle
  try {
    // Without waiting for the other end, if it is a pipe. Windows has neither flag, and undefined counts as 0.
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    // The BSDs say EMLINK.
    if (['ELOOP', 'EMLINK'].includes(codeOf(error))) {
      throw unreadable('damaged', `${file} is a symbolic link. Name the file that it points to.`)
    }
    throw error
  }
  try {
    const info = await handle.stat()
    if (!info.isFile()) throw unreadable('damaged', `${file} is a directory or a device. Name a file.`)
    if (process.platform !== 'win32' && info.mode & 0o077) await handle.chmod(0o600)
    const bytes = await handle.readFile()
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      throw damaged(file, 'is not UTF-8')
    }
  } finally {
    await handle.close()
  }
}

/**
 * Replaces the file by what `compose` resolves to; leaves it alone for `undefined`. Nobody else writes between the
 * beginning of `compose` and the replacement, or else `compose` is called again.
 */
export async function replaceFile(file: string, compose: () => Promise<string | undefined>): Promise<void> {
  try {
    const deadline = performance.now() + PATIENCE_MS
    while (!(await attempt(file, compose, deadline)));
  } catch (error) {
    throw explained(file, error)
  }
}

/** Resolves to `false` when somebody took the turn away. */
async function attempt(file: string, compose: () => Promise<string | undefined>, deadline: number): Promise<boolean> {
  const lock = `${file}.lock`
  const { draft, handle } = await takeTurn(lock, deadline)
  try {
    try {
      const text = await compose()
      if (text === undefined) return true
      await handle.writeFile(text)
      // Or else the name could survive a power failure that the text does not.
      await handle.sync()
    } finally {
      await handle.close()
    }
    try {
      await rename(draft, file)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw error
    }
    await syncDirectory(dirname(file))
    return true
  } finally {
    await giveBack(lock, draft)
  }
}

async function takeTurn(lock: string, deadline: number): Promise<{ draft: string; handle: FileHandle }> {
  let seen: string | undefined
  let since = 0
  for (; ; await sleep(1 + Math.random() * POLL_MS)) {
    try {
      await mkdir(lock, 0o700)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') {
        await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
        continue
      }
      if (codeOf(error) !== 'EEXIST') throw error
      const now = performance.now()
      const looks = await look(lock)
      if (looks === undefined) continue
      if (looks !== seen) since = now
      seen = looks
      if (now - since < STALE_MS) {
        if (now > deadline) throw new Error(`Other processes have been writing for ${PATIENCE_MS / 1000} s on end.`)
        continue
      }
    }
    const name = `${randomBytes(12).toString('hex')}.draft`
    const draft = join(lock, name)
    // The directory is gone again if the one who had the turn before was only now getting round to giving it back.
    const handle = await unless(['ENOENT'], open(draft, 'wx', 0o600))
    if (!handle) continue
    try {
      // Before anything is read. Of two that find each other here, at most one goes on with a draft.
      for (const other of await draftsIn(lock)) if (other !== name) await unless(['ENOENT'], unlink(join(lock, other)))
      return { draft, handle }
    } catch (error) {
      await handle.close()
      await giveBack(lock, draft)
      throw error
    }
  }
}

/**
 * Removes what is ours, and the directory if nobody else's draft is in it: the turn may be somebody else's by now. What
 * cannot be removed does no harm, and it must not make a failure of a write that succeeded.
 */
async function giveBack(lock: string, draft: string): Promise<void> {
  await unlink(draft).catch(() => undefined)
  await rmdir(lock).catch(() => undefined)
}

/** Something that changes whenever somebody takes a turn; `undefined` when nobody has it. */
async function look(lock: string): Promise<string | undefined> {
  const info = await unless(['ENOENT'], lstat(lock))
  if (!info) return undefined
  // Drafts are removed there. Not in a directory of somebody's choice.
  if (!info.isDirectory()) throw new Error(`${lock} is in the way. Remove it.`)
  return `${info.ino} ${info.mtimeMs} ${await draftsIn(lock)}`
}

async function draftsIn(lock: string): Promise<string[]> {
  const names = await unless(['ENOENT'], readdir(lock))
  return (names ?? []).filter((name) => DRAFT.test(name))
}

/** The rename itself is on the disk only with the directory. Windows and some file systems cannot do this. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (codeOf(error) === 'EIO') throw error
  }
}

/** What the system says, with the file and what can be done about it, as the cause of an error for everybody. */
function explained(file: string, error: unknown): unknown {
  if (error instanceof OAuth2ClientError) return error
  const advice: Record<string, string> = {
    EACCES: ' This process must be allowed to read the file and to write in its directory, where it is replaced.',
    EPERM: ' This process must own the file and be allowed to write in its directory, where it is replaced.',
    EROFS: ' It is on a file system that can only be read. Name a file elsewhere.',
    ENOSPC: ' The disk is full.',
    ENOTDIR: ' Part of its path is a file.',
  }
  const details = `${file}: ${(error as Error).message}${advice[codeOf(error)] ?? ''}`
  return new StoreUnavailableError({ cause: new Error(details, { cause: error }) })
}
