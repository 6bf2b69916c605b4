/** Some at a time, until all of them are done. */
import { checkStopped } from './stop.mjs'

/** @param task `(n) => Promise`, for each n from 0 to `count` - 1 */
export async function inParallel(count, task, workers = 16) {
  let next = 0
  const work = async () => {
    while (next < count) {
      checkStopped()
      await task(next++)
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
}
