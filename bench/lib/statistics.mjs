/** Of a few rounds: what is in the middle, and how far the others are from it. */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export const summary = (numbers) => ({
  median: median(numbers),
  min: Math.min(...numbers),
  max: Math.max(...numbers),
})

export const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length

/** `1.00 (0.97-1.03)` */
export function spread(numbers, digits = 2) {
  const { median: middle, min, max } = summary(numbers)
  return `${middle.toFixed(digits)} (${min.toFixed(digits)}-${max.toFixed(digits)})`
}

export const percentile = (numbers, percent) =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor((numbers.length * percent) / 100))]
