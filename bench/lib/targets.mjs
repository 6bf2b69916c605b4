/** What is promised of figures. A table's `targets(results)` is a list of these. */
export const atLeast = (what, value, limit) => ({ what, value, wanted: `at least ${limit}`, met: value >= limit })
export const atMost = (what, value, limit) => ({ what, value, wanted: `at most ${limit}`, met: value <= limit })
