#!/usr/bin/env node
/** The outermost file of the binary, and the only one that touches the process. */
import { main } from './main.js'

const { stdin, stdout, stderr, env } = process
// Whoever reads only the beginning, such as `head`, is no failure.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})
process.exitCode = await main(process.argv.slice(2), { stdin, stdout, stderr, env, cwd: process.cwd() })
