/**
 * Signing in from command-line and desktop programs.
 *
 * @module
 */
export type { AuthorizationOptions } from './authorization.js'
export type { ShowOptions } from './browser.js'
export { type DeviceFlowOptions, runDeviceFlow } from './device.js'
export { type LocalServerFlowOptions, runLocalServerFlow } from './loopback.js'
export { type PasteFlowOptions, runPasteFlow } from './paste.js'
export type { RedirectOptions } from './redirect.js'
