/** A Secret Service of our own: a private bus with GNOME's keyring on it, unlocked and empty. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SHARE_ENV, Worker } from 'node:worker_threads'
import { describe } from 'vitest'

const PROGRAMS = ['dbus-daemon', 'gnome-keyring-daemon']

/** `describe` for tests that need it. Where it is not installed they are left out, with a note; with `CI` set they fail. */
export function describeWithSecretService(): typeof describe | typeof describe.skip {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const missing = PROGRAMS.filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
  if (process.platform === 'linux' && missing.length === 0) return describe
  const problem = `No Secret Service can be started: ${missing.join(' and ') || process.platform}.`
  if (process.env.CI && process.platform === 'linux') throw new Error(`${problem} See .ci/services.`)
  console.warn(`${problem} The tests of keyringStore are left out.`)
  return describe.skip
}

export interface SecretService {
  /** Ends it, and this process looks for its bus where it did before. */
  stop(): Promise<void>
}

export async function startSecretService(): Promise<SecretService> {
  const home = await mkdtemp(join(tmpdir(), 'keyring-home-'))
  const env = { ...process.env, HOME: home, XDG_DATA_HOME: join(home, 'data'), XDG_RUNTIME_DIR: home, DISPLAY: '' }
  const config = join(home, 'bus.conf')
  await writeFile(config, busConfig(home))
  const bus = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [line] = await once(bus.stdout as NodeJS.ReadableStream, 'data')
  const address = String(line).trim()
  const before = await setBus(address)
  const daemon = spawn('gnome-keyring-daemon', ['--foreground', '--unlock', '--components=secrets'], {
    env: { ...env, DBUS_SESSION_BUS_ADDRESS: address },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  daemon.stdin?.end('password of the keyring')
  const stop = async () => {
    await setBus(before)
    for (const child of [daemon, bus]) await end(child)
    await rm(home, { recursive: true, force: true })
  }
  try {
    await answering()
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }
}

/** As every session has it, but without services that start when they are called: that would be another keyring, a locked one. */
const busConfig = (folder: string) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=${folder}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_completed_connections">100000</limit>
</busconfig>
`

/**
 * Sets DBUS_SESSION_BUS_ADDRESS for children and for native code, and resolves to what it was. `process.env` is a copy in a test,
 * and only a thread that shares the environment has the real one.
 */
export async function setBus(address: string | undefined): Promise<string | undefined> {
  const before = process.env.DBUS_SESSION_BUS_ADDRESS
  if (address === undefined) delete process.env.DBUS_SESSION_BUS_ADDRESS
  else process.env.DBUS_SESSION_BUS_ADDRESS = address
  const code = `const { workerData: a } = require('node:worker_threads')
    if (a === undefined) delete process.env.DBUS_SESSION_BUS_ADDRESS
    else process.env.DBUS_SESSION_BUS_ADDRESS = a`
  await once(new Worker(code, { eval: true, env: SHARE_ENV, workerData: address }), 'exit')
  return before
}

async function answering(): Promise<void> {
  const { AsyncEntry } = await import('@napi-rs/keyring')
  for (let attempt = 0; ; attempt++) {
    try {
      await new AsyncEntry('ready', 'ready', { linux: { store: 'secret-service' } }).setPassword('ready')
      return
    } catch (error) {
      if (attempt > 100) throw error
      await sleep(50)
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'exit')
  child.kill()
  await closed
}
