/** Members of answers as providers write them: anything at all may be where a number or a text should be. */

/** @returns `NaN` for what is no number and no text; an object that says how it is converted is not asked */
export function toNumber(value: unknown): number {
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
}

/** @returns `''` for what is no text */
export function toText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
