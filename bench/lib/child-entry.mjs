// What runs in each child: starts the module's server, then does as told until its parent is gone.
const [, , script, options] = process.argv
const send = (message) => process.connected && process.send(message)

const builtIn = {
  /** Microseconds of CPU so far, and bytes of memory. */
  usage() {
    const { user, system } = process.cpuUsage()
    return { cpu: user + system, rss: process.memoryUsage().rss }
  },
  collect() {
    globalThis.gc?.()
    return process.memoryUsage()
  },
  /** Removes what a contender left elsewhere. */
  end() {},
}

process.on('disconnect', () => process.exit())
// Ctrl-C goes to everybody at once: the parent may still have something to ask.
process.on('SIGINT', () => {})
try {
  const began = performance.now()
  const { start } = await import(script)
  const started = await start(JSON.parse(options))
  const commands = { ...builtIn, ...started.commands }
  process.on('message', async ({ id, name, argument }) => {
    try {
      send({ id, value: await commands[name](argument) })
    } catch (error) {
      send({ id, error: error.stack ?? String(error) })
    }
  })
  const { commands: _, ...facts } = started
  send({ id: 0, value: { ...facts, startedIn: performance.now() - began } })
} catch (error) {
  // Nobody asks for more of what did not start.
  process.send({ id: 0, error: error.stack ?? String(error) }, () => process.exit(1))
}
