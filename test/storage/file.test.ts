import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type FileStore, fileStore } from '../../src/storage/file.js'
import { credentialStoreContract } from '../../src/testing/credential-store-contract.js'
import { type Children, compileForChildren, ended } from './children.js'

const HOUR = 3_600_000
const posix = process.platform !== 'win32'

let directory: string
let path: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'file-store-'))
  path = join(directory, 'credentials.json')
})

afterEach(async () => {
  vi.restoreAllMocks()
  await rm(directory, { recursive: true })
})

const mode = async (file: string) => (await stat(file)).mode & 0o777
const contents = async () => JSON.parse(await readFile(path, 'utf8'))

const uses = (store: FileStore): (() => Promise<unknown>)[] => [
  () => store.get('k'),
  () => store.put('k', 'w'),
  () => store.delete('k'),
  () => store.lock('k', 1000),
  () => all(store.list('')),
]

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const key of keys) found.push(key)
  return found
}

/** Lets the waiting for dead processes pass ten times as fast. */
function hurry(): void {
  const now = performance.now.bind(performance)
  const began = now()
  vi.spyOn(performance, 'now').mockImplementation(() => began + (now() - began) * 10)
}

credentialStoreContract({
  // Hundreds of writes that are flushed to the disk one by one.
  test: (name, fn) => test(name, { timeout: 60_000 }, fn),
  describe: (name, fn) => describe(`fileStore, two handles: ${name}`, fn),
  async create() {
    let now = 0
    const clock = () => now
    return {
      store: fileStore({ path, clock }),
      second: fileStore({ path, clock }),
      advance(ms) {
        now += ms
      },
      async cleanup() {},
    }
  },
})

describe('fileStore', () => {
  test('a missing file holds nothing, and reading creates none', async () => {
    const store = fileStore({ path })
    expect(await store.get('k')).toBeUndefined()
    expect(await all(store.list(''))).toEqual([])
    expect(await store.delete('k')).toBe(false)
    expect(await store.put('k', 'v', 7)).toBe(false)
    expect(await readdir(directory)).toEqual([])
  })

  test.skipIf(!posix)('only the owner can read what it creates, whatever the umask', async () => {
    const umask = process.umask(0)
    try {
      path = join(directory, 'made', 'on the way', 'credentials.json')
      await fileStore({ path }).put('k', 'v')
      expect(await mode(path)).toBe(0o600)
      expect(await mode(join(directory, 'made'))).toBe(0o700)
      expect(await mode(join(directory, 'made', 'on the way'))).toBe(0o700)
    } finally {
      process.umask(umask)
    }
  })

  test.skipIf(!posix)(
    'takes permissions away from a file that others can read, on reading and on writing',
    async () => {
      const store = fileStore({ path })
      await store.put('k', 'v')
      await chmod(path, 0o644)
      expect((await store.get('k'))?.value).toBe('v')
      expect(await mode(path)).toBe(0o600)
      await chmod(path, 0o666)
      await store.put('k', 'w')
      expect(await mode(path)).toBe(0o600)
    },
  )

  test('leaves nothing beside the file', async () => {
    const store = fileStore({ path })
    await Promise.all([store.put('a', 'v'), store.put('b', 'v', 5), store.delete('c'), store.lock('d', 1000)])
    await store.close()
    expect(await readdir(directory)).toEqual(['credentials.json'])
  })

  test.skipIf(!posix)('refuses a symbolic link and leaves it and its target alone', async () => {
    const target = join(directory, 'target')
    for (const text of [undefined, '{}']) {
      if (text) await writeFile(target, text)
      else await symlink(target, path)
      const store = fileStore({ path })
      for (const use of uses(store)) {
        await expect(use()).rejects.toMatchObject({
          code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE',
          cause: { message: `${path} is a symbolic link. Name the file that it points to.` },
        })
      }
    }
    expect(await readFile(target, 'utf8')).toBe('{}')
    expect((await readdir(directory)).sort()).toEqual(['credentials.json', 'target'])
  })

  test.skipIf(!posix)('refuses a directory', async () => {
    await mkdir(path)
    const store = fileStore({ path })
    for (const use of uses(store)) {
      await expect(use()).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE' })
    }
    expect((await stat(path)).isDirectory()).toBe(true)
  })

  test('an unreadable file is an error that says which one, and is never overwritten', async () => {
    const store = fileStore({ path })
    await store.put('k', 'v')
    const good = await contents()
    const damage: (string | Buffer)[] = [
      '',
      'null',
      '{"access_token": "secret',
      JSON.stringify(good).slice(0, -20),
      '[]',
      '{}',
      ...[
        { version: 2 },
        { version: undefined },
        { format: 'other' },
        { entries: {} },
        { generation: '1' },
        { leases: null },
        { entries: [null] },
        { entries: [{ ...good.entries[0], value: 1 }] },
        { entries: [{ ...good.entries[0], generation: undefined }] },
        { leases: [{ key: 'k' }] },
      ].map((change) => JSON.stringify({ ...good, ...change })),
      // A byte that UTF-8 does not know, in the middle of a value.
      Buffer.from(JSON.stringify(good).replace('"v"', '"\xff"'), 'latin1'),
    ]
    for (const text of damage) {
      await writeFile(path, text)
      for (const use of uses(store)) {
        const error = await use().then(
          () => expect.fail(`accepted ${text}`),
          (reason) => reason,
        )
        expect(error.code).toBe('FST_OAUTH2_CREDENTIALS_UNREADABLE')
        expect(error.message).not.toContain(directory)
        expect(error.cause.message).toContain(path)
        expect(error.cause.message).not.toContain('secret')
        expect(error.cause.cause).toBeUndefined()
      }
      expect(await readFile(path)).toEqual(Buffer.from(text))
    }
    expect(await readdir(directory)).toEqual(['credentials.json'])
    await writeFile(path, JSON.stringify(good))
    expect((await store.get('k'))?.value).toBe('v')
  })

  test('a file that vanished is begun anew, above all that was in it', async () => {
    const store = fileStore({ path })
    let last = 0
    for (let round = 0; round < 20; round++) last = Number(await store.put('k', 'v'))
    await rm(path)
    expect(await store.get('k')).toBeUndefined()
    expect(await store.put('k', 'late', last)).toBe(false)
    expect(await store.put('k', 'again', 0)).toBeGreaterThan(last)
    await rm(directory, { recursive: true })
    expect(await store.put('k', 'again', 0)).toBeGreaterThan(last)
  })

  test('a file from the future pushes generations above everything in it', async () => {
    const store = fileStore({ path })
    await store.put('k', 'v')
    const ahead = Date.now() * 1000 + 60_000_000
    await writeFile(path, JSON.stringify({ ...(await contents()), generation: ahead }))
    expect(await store.put('k', 'w')).toBe(ahead + 1)
  })

  test('tombstones and leases are removed when they are over, on writes', async () => {
    let now = 0
    const store = fileStore({ path, clock: () => now })
    await store.put('dead', 'v')
    await store.delete('dead')
    await store.lock('leased', 1000)
    now = 999
    await store.put('live', 'v')
    expect((await contents()).leases).toHaveLength(1)
    now = HOUR - 1
    await store.put('live', 'v')
    const { entries, leases } = await contents()
    expect(entries.map(({ key }: { key: string }) => key)).toEqual(['dead', 'live'])
    expect(entries[0].value).toBeUndefined()
    expect(leases).toEqual([])
    now = HOUR
    await store.put('live', 'v')
    expect((await contents()).entries).toHaveLength(1)
  })

  test('writes that are made at the same time share a replacement', async () => {
    const store = fileStore({ path })
    const { ino } = (await store.put('k', 'v')) ? await stat(path) : { ino: 0 }
    const seen = new Set([ino])
    const watching = { on: true }
    const watch = (async () => {
      while (watching.on) seen.add((await stat(path)).ino)
    })()
    await Promise.all(Array.from({ length: 200 }, (_, index) => store.put(`k${index}`, 'v', 0)))
    watching.on = false
    await watch
    expect(seen.size).toBeLessThan(5)
    expect(await all(store.list('k'))).toHaveLength(201)
  })

  test('readers see the old or the new file, never a part of one', async () => {
    const [writer, reader] = [fileStore({ path }), fileStore({ path })]
    await writer.put('k', '')
    let writing = true
    const reading = Array.from({ length: 4 }, async () => {
      while (writing) expect((await reader.get('k'))?.value).toMatch(/^(x{500000}\d+)?$/)
    })
    for (let round = 0; round < 30; round++) await writer.put('k', 'x'.repeat(500_000) + round)
    writing = false
    await Promise.all(reading)
  })

  test('many handles in one process lose no increment', async () => {
    const stores = Array.from({ length: 8 }, () => fileStore({ path }))
    await stores[0]!.put('k', '0')
    await Promise.all(
      stores.map(async (store) => {
        for (let done = 0; done < 10; ) {
          const stored = await store.get('k')
          if (await store.put('k', String(Number(stored!.value) + 1), stored!.generation)) done++
        }
      }),
    )
    expect((await stores[0]!.get('k'))?.value).toBe('80')
  })

  test('a failure reaches everybody whose write it was, and the next write works', async () => {
    const blocked = join(directory, 'file')
    await writeFile(blocked, '')
    path = join(blocked, 'credentials.json')
    const store = fileStore({ path })
    const results = await Promise.allSettled([store.put('a', 'v'), store.put('b', 'v'), store.delete('c')])
    expect(results.map((result) => result.status === 'rejected' && result.reason)).toEqual(
      Array.from({ length: 3 }, () =>
        expect.objectContaining({
          code: 'FST_OAUTH2_STORE_UNAVAILABLE',
          cause: expect.objectContaining({ message: expect.stringContaining(`${path}: ENOTDIR`) }),
        }),
      ),
    )
    await rm(blocked)
    expect(await store.put('a', 'v', 0)).toBeGreaterThan(0)
  })

  test('what is in the way of the lock is named and left alone', async () => {
    await writeFile(`${path}.lock`, 'mine')
    const mine = join(directory, 'mine')
    await mkdir(mine)
    await expect(fileStore({ path }).put('k', 'v')).rejects.toMatchObject({
      code: 'FST_OAUTH2_STORE_UNAVAILABLE',
      cause: { message: expect.stringContaining(`${path}.lock is in the way`) },
    })
    expect(await readFile(`${path}.lock`, 'utf8')).toBe('mine')
    if (!posix) return
    await rm(`${path}.lock`)
    await symlink(mine, `${path}.lock`)
    await expect(fileStore({ path }).put('k', 'v')).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
  })

  test('a lock left by a dead process is taken over, with what lies in it', async () => {
    hurry()
    const store = fileStore({ path })
    const generation = Number(await store.put('k', 'v'))
    for (const draft of [undefined, `${'0'.repeat(24)}.draft`]) {
      await mkdir(`${path}.lock`)
      if (draft) await writeFile(join(`${path}.lock`, draft), 'half')
      // However old the dead are: only that nothing moves counts, because clocks may be wrong.
      await utimes(`${path}.lock`, 0, 0)
      const began = performance.now()
      expect((await store.get('k'))?.value).toBe('v')
      expect(performance.now() - began).toBeLessThan(1000)
      expect(await store.put('k', 'v')).toBeGreaterThan(generation)
      expect(performance.now() - began).toBeGreaterThan(2900)
      expect(await readdir(directory)).toEqual(['credentials.json'])
    }
  })

  test('a writer that slept through a takeover begins again instead of undoing it', async () => {
    hurry()
    const store = fileStore({ path })
    const second = fileStore({ path })
    await store.put('k', '0')
    // Held up in the middle of its turn: the file has been read, and the draft is there.
    const { replaceFile } = await import('../../src/storage/file/replace.js')
    let attempts = 0
    const sleeper = replaceFile(path, async () => {
      const text = await readFile(path, 'utf8')
      if (attempts++ === 0) await sleep(450)
      return text.replace('"value": "', '"value": "+')
    })
    await sleep(20)
    expect(await second.put('k', '1')).toBeGreaterThan(0)
    await sleeper
    expect(attempts).toBe(2)
    expect((await store.get('k'))?.value).toBe('+1')
    expect(await readdir(directory)).toEqual(['credentials.json'])
  })

  test('gives up on a lock that others keep taking', async () => {
    hurry()
    const store = fileStore({ path })
    await mkdir(`${path}.lock`)
    let busy = true
    const others = (async () => {
      for (let round = 0; busy; round++) {
        await utimes(`${path}.lock`, round, round)
        await sleep(20)
      }
    })()
    await expect(store.put('k', 'v')).rejects.toMatchObject({
      code: 'FST_OAUTH2_STORE_UNAVAILABLE',
      cause: { message: expect.stringContaining('writing for 10 s') },
    })
    busy = false
    await others
  })

  test('refuses a path that is none', () => {
    for (const wrong of ['', undefined, 3]) {
      expect(() => fileStore({ path: wrong as string })).toThrow(
        expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
      )
    }
  })
})

describe('fileStore in several processes', () => {
  let children: Children
  beforeAll(async () => {
    children = await compileForChildren()
  })
  afterAll(() => children.remove())

  test('four processes that increment a number lose none', { timeout: 60_000 }, async () => {
    const store = fileStore({ path })
    await store.put('counter', '0')
    const task = { kind: 'file', path, action: 'increment', count: 50 } as const
    const ends = await Promise.all([1, 2, 3, 4].map(() => children.run(task)))
    expect(ends).toEqual(Array(4).fill({ code: 0, signal: null, output: '' }))
    expect((await store.get('counter'))?.value).toBe('200')
    expect(await readdir(directory)).toEqual(['credentials.json'])
  })

  test.skipIf(!posix)(
    'a process that dies before any of its calls leaves the old or the new file',
    { timeout: 60_000 },
    async () => {
      hurry()
      const died: number[] = []
      const left: number[] = []
      const check = async (count: number) => {
        const file = join(directory, `${count}.json`)
        const store = fileStore({ path: file })
        const generation = Number(await store.put('k', 'old'))
        const { signal, output } = await children.run({ kind: 'file', path: file, action: 'die', count })
        expect(output).toBe('')
        if (signal === 'SIGKILL') died.push(count)
        const stored = await store.get('k')
        expect(['old', 'new']).toContain(stored?.value)
        if (signal !== 'SIGKILL') expect(stored?.value).toBe('new')
        if ((await readdir(directory)).includes(`${count}.json.lock`)) left.push(count)
        expect(await store.put('k', 'next', stored!.generation)).toBeGreaterThan(generation)
        expect((await readdir(directory)).filter((name) => name.startsWith(`${count}.json.`))).toEqual([])
      }
      const counts = Array.from({ length: 24 }, (_, index) => index)
      for (let from = 0; from < counts.length; from += 8) await Promise.all(counts.slice(from, from + 8).map(check))
      // All of its calls were among them, and in most of them it had its turn.
      expect(died.sort((a, b) => a - b)).toEqual(counts.slice(0, died.length))
      expect(died.length).toBeLessThan(counts.length)
      expect(left.length).toBeGreaterThan(8)
    },
  )

  test.skipIf(!posix)('kill -9 at any time leaves a file that can be read', { timeout: 60_000 }, async () => {
    hurry()
    const rounds = Array.from({ length: 12 }, (_, index) => join(directory, `${index}.json`))
    for (const file of rounds) {
      const child = children.start({ kind: 'file', path: file, action: 'write' })
      const end = ended(child)
      await once(child.stdout!, 'data')
      await sleep(Math.random() * 20)
      child.kill('SIGKILL')
      expect((await end).signal).toBe('SIGKILL')
      const stored = await fileStore({ path: file }).get('k')
      expect(stored?.value).toMatch(/^x{100000}\d+$/)
    }
    await Promise.all(rounds.map((file) => fileStore({ path: file }).put('k', 'v')))
    for (const file of rounds) expect((await fileStore({ path: file }).get('k'))?.value).toBe('v')
    expect(await readdir(directory)).toHaveLength(rounds.length)
  })

  test.skipIf(!posix)('a directory that can only be read still has readable credentials', async () => {
    await fileStore({ path }).put('k', 'old')
    // Root may write anywhere, so it becomes somebody else.
    const nobody = process.getuid?.() === 0 ? 65_534 : undefined
    if (nobody) await (await import('node:fs/promises')).chown(path, nobody, nobody)
    await chmod(directory, 0o555)
    try {
      const { code, output } = await children.run({ kind: 'file', path, action: 'once' }, nobody)
      expect(output).toMatch(/^old\nFST_OAUTH2_STORE_UNAVAILABLE /)
      expect(output).toContain(`${path}: EACCES`)
      expect(output).toContain('must be allowed to read the file and to write in its directory')
      expect(code).toBe(0)
    } finally {
      await chmod(directory, 0o700)
    }
    expect((await fileStore({ path }).get('k'))?.value).toBe('old')
  })
})
