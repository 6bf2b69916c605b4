/** What can be told of keys and store by reading. */
import { KeyInUseError } from '../../errors.js'
import { type Target, withTarget } from '../target.js'
import { bad, type Finding, messageOf, ok } from './finding.js'

/** Reads once, and writes nothing. */
export async function checkStore(target: Target): Promise<Finding[]> {
  const { manager, open } = target
  const { kids } = manager.registration.keys
  const findings = [ok('keys', `${kids.length} of at least 32 characters; ${kids[0]} seals`)]
  try {
    await withTarget(target, async () => {
      await open.store.get(`${manager.prefix}doctor`)
      findings.push(ok('store', `${open.label} answers`))
      await manager.registry?.check(manager.registration.keys)
    })
  } catch (error) {
    if (error instanceof KeyInUseError) findings.push(bad('keys', messageOf(error)))
    else findings.push(bad('store', `${open.label}: ${messageOf(error)}.${hint(error)}`))
  }
  return findings
}

function hint(error: unknown): string {
  const text = messageOf(error)
  if (/no such table|does not exist|doesn't exist/i.test(text)) return ' Create its tables: oauth2client migrate'
  if (/ECONNREFUSED|ENOTFOUND|ETIMEDOUT/.test(text)) return ' Look at host, port and firewall.'
  if (/password|access denied/i.test(text)) return ' Look at user and password.'
  return ''
}
