/** Nothing depends on who watches: whatever fails there, what is watched goes on as if nobody looked. */
import type { Watch } from './watch.js'

export function harmless(watch: Watch): Watch {
  return {
    guard: (...told) => tell(() => watch.guard(...told)),
    signIn: (...told) => tell(() => watch.signIn(...told)),
    refreshFailed: (...told) => tell(() => watch.refreshFailed(...told)),
    refresh: (run) => around((once) => watch.refresh(once), run),
    callback: (run) => around((once) => watch.callback(once), run),
    store: (call, run) => around((once) => watch.store(call, once), run),
    request: (request, run) => around((once) => watch.request(request, once), run),
  }
}

function tell(telling: () => void): void {
  try {
    telling()
  } catch {}
}

/** Runs it once, within the watch if that runs it at once, as it has to, and answers with what came of it. */
function around<T>(watching: (once: () => Promise<T>) => Promise<T>, run: () => Promise<T>): Promise<T> {
  let result: Promise<T> | undefined
  const once = () => {
    result ??= run()
    return result
  }
  tell(() => void watching(once).catch(() => {}))
  return once()
}
