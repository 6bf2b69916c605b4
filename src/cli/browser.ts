/** Whether a browser can be shown to whoever runs a command. */
import type { Io } from './command.js'

/** A guess from the environment: a session over SSH has its browser elsewhere, unless something says how to get there. */
export function hasBrowser(env: Io['env'], platform: NodeJS.Platform = process.platform): boolean {
  if (env.BROWSER) return true
  if (platform === 'win32' || platform === 'darwin') return !(env.SSH_CONNECTION || env.SSH_TTY)
  return Boolean(env.DISPLAY || env.WAYLAND_DISPLAY || env.WSL_DISTRO_NAME)
}
