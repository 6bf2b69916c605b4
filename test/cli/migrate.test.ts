import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseDatabaseUrl } from '../../src/cli/database.js'
import { sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { run } from './run.js'

const CREATED = 'oauth2_credentials: created\noauth2_credentials_leases: created\n'
const THERE = CREATED.replaceAll('created\n', 'already there\n')

let cwd: string
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'migrate-'))
})
afterEach(() => rm(cwd, { recursive: true }))

describe('oauth2client migrate on SQLite', () => {
  test('creates the tables of the store, and says so; the second time they are there', async () => {
    const args = ['migrate', '--url', 'sqlite:app.sqlite']
    expect(await run(args, { cwd })).toEqual({ code: 0, stdout: CREATED, stderr: '' })
    const db = await openSqlite({ path: join(cwd, 'app.sqlite') })
    const store = sqlStore({ db, closeDb: true })
    const generation = await store.put('user/alice', 'sealed', 0)
    expect(await run(args, { cwd })).toEqual({ code: 0, stdout: THERE, stderr: '' })
    expect(await store.get('user/alice')).toMatchObject({ value: 'sealed', generation })
    expect(await store.lock('user/alice', 1000)).toBeDefined()
    await store.close()
  })

  test('takes the URL from the environment, and --url before that', async () => {
    const env = { DATABASE_URL: 'sqlite:environment.sqlite' }
    await run(['migrate'], { cwd, env })
    await run(['migrate', '--url', `sqlite:${join(cwd, 'argument.sqlite')}`], { cwd, env })
    const files = (await readdir(cwd)).filter((name) => name.endsWith('.sqlite'))
    expect(files.sort()).toEqual(['argument.sqlite', 'environment.sqlite'])
  })

  test('names the tables as it is told, in lines or as JSON', async () => {
    const args = ['migrate', '--url', 'sqlite:app.sqlite', '--table', 'main.tokens', '--lease-table', 'token leases']
    expect((await run(args, { cwd })).stdout).toBe('main.tokens: created\ntoken leases: created\n')
    const { stdout } = await run([...args.slice(0, -1), 'others', '--json'], { cwd })
    expect(JSON.parse(stdout)).toEqual({
      dialect: 'sqlite',
      tables: [
        { name: 'main.tokens', created: false },
        { name: 'others', created: true },
      ],
    })
  })

  test('a table that is something else is an error, and nothing is created', async () => {
    const db = await openSqlite({ path: join(cwd, 'app.sqlite') })
    await sql`create table OAuth2_Credentials (id integer primary key, credentials text)`.execute(db)
    const { code, stdout, stderr } = await run(['migrate', '--url', 'sqlite:app.sqlite'], { cwd })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^oauth2client migrate: oauth2_credentials is there, but .*credential_key.* --table\.\n$/)
    expect((await db.introspection.getTables()).map(({ name }) => name)).toEqual(['OAuth2_Credentials'])
    await db.destroy()
  })

  test.each([
    ['whose folder is missing', 'sqlite:missing/app.sqlite', /no such file or directory/],
    ['that is something else', 'sqlite:text.txt', /not a database/],
  ])('a file %s is one line on stderr', async (_, url, message) => {
    await writeFile(join(cwd, 'text.txt'), 'no database, but long enough to be looked at. '.repeat(20))
    const { code, stdout, stderr } = await run(['migrate', '--url', url], { cwd })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^oauth2client migrate: [^\n]+\n$/)
    expect(stderr).toMatch(message)
  })
})

describe('oauth2client migrate, called wrongly', () => {
  test.each([
    ['without a database', [], /--url or set DATABASE_URL/],
    ['with an empty URL', ['--url', ''], /--url is empty/],
    ['with a database that there is no SQL for', ['--url', 'mongodb://127.0.0.1/test'], /postgres:\/\/, mysql:\/\//],
    ['with something that is no URL', ['--url', 'app.sqlite'], /sqlite:/],
    ['with slashes before a path', ['--url', 'sqlite://app.sqlite'], /sqlite:data\/app\.sqlite/],
    ['without a path', ['--url', 'sqlite:'], /the path of a file/],
    ['with a password that is not encoded', ['--url', 'postgres://app:a/b@c@db.example:port/app'], /%2F/],
    ['with an unknown dialect', ['--print', '--dialect', 'oracle'], /--dialect postgres/],
    ['printing without a dialect', ['--print'], /--dialect postgres/],
    ['printing JSON', ['--print', '--dialect', 'sqlite', '--json'], /--json does not/],
    ['with a dialect for a URL', ['--url', 'sqlite:a.sqlite', '--dialect', 'mysql'], /the URL tells/],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await run(['migrate', ...args], { cwd, env: { DATABASE_URL: '' } })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr.match(/\n/g)).toHaveLength(1)
    expect(await readdir(cwd)).toEqual([])
  })
})

test('what a driver says is shown without the password, however it is written', () => {
  const { redact } = parseDatabaseUrl('mysql://app:p%40ss%20word@127.0.0.1/app?password=an%26other')
  expect(redact('p@ss word, p%40ss%20word and an&other')).toBe('***, *** and ***')
})
