/** Every kind of store that processes can share, as far as it runs here. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { describeWith } from '../storage/servers.js'
import type { StoreTask } from './shared-store.js'

type Describe = typeof describe | typeof describe.skip

export interface SharedStore {
  readonly name: string
  readonly describe: Describe
  /** A place in it that nobody else uses. */
  create(): Promise<{ task: StoreTask; cleanup(): Promise<void> }>
}

const unique = () => `test_${randomBytes(6).toString('hex')}`

function ofServer(name: string, kind: StoreTask['kind'], server: { url: string; describe: Describe }): SharedStore {
  return {
    name,
    describe: server.describe,
    create: async () => ({ task: { kind, at: server.url, name: unique() }, cleanup: async () => {} }),
  }
}

function ofFile(name: string, kind: StoreTask['kind']): SharedStore {
  return {
    name,
    describe,
    async create() {
      const directory = await mkdtemp(join(tmpdir(), 'shared-store-'))
      const task = { kind, at: join(directory, 'credentials'), name: 'credentials' }
      return { task, cleanup: () => rm(directory, { recursive: true }) }
    },
  }
}

export const sqlite = ofFile('SQLite', 'sqlite')
export const file = ofFile('a file', 'file')

/** PostgreSQL, MariaDB and Redis; left out where they do not run, except with `CI`. */
export async function serverStores(): Promise<SharedStore[]> {
  const [postgres, mysql, redis] = await Promise.all([
    describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test'),
    describeWith('TEST_MYSQL_URL', 'mysql://root@127.0.0.1:3306/test'),
    describeWith('TEST_REDIS_URL', 'redis://127.0.0.1:6379'),
  ])
  return [
    ofServer('PostgreSQL', 'postgres', postgres),
    ofServer('MySQL or MariaDB', 'mysql', mysql),
    ofServer('Redis', 'redis', redis),
  ]
}
