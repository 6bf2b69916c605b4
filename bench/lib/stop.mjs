/** Ctrl-C ends a run at its next step and not at once, so that what was filled in or started is removed again. */
let stopped = false
process.once('SIGINT', () => {
  stopped = true
})

export function checkStopped() {
  if (stopped) throw new Error('Stopped.')
}
