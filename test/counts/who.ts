/** Whether something happens because our code wants it: the stack says who is nearest to it and no library that we use. */

const OURS = /\/src\/(?!testing\/)/
/** jose, openid-client and what that stands on do what our code tells them to; the counters are in every stack. */
const ANYBODY_ELSE =
  /\/node_modules\/(?!jose\/|openid-client\/|oauth4webapi\/)|\/test\/(?!counts\/(?:crypto|who|resources)\.ts)|\/src\/testing\//

/**
 * Stacks go through `await`, so an answer that came from elsewhere does not hide who asked.
 *
 * @param unknown what to take it for where the stack says nothing
 */
export function isOurDoing(unknown: boolean): boolean {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Number.POSITIVE_INFINITY
  const frames = (new Error('who').stack as string).split('\n').slice(1)
  Error.stackTraceLimit = stackTraceLimit
  const nearest = frames.find((frame) => OURS.test(frame) || ANYBODY_ELSE.test(frame))
  return nearest === undefined ? unknown : !ANYBODY_ELSE.test(nearest)
}
