/** Visits every state that a model can get into: depth first, each state once. */

export interface Model<State> {
  readonly initial: State
  /** Everything that can happen next, by name. Throws where a promise is broken. */
  next(state: State): Iterable<readonly [step: string, state: State]>
  /** Called for each state in which nothing can happen any more. */
  end(state: State): void
}

export interface Exploration {
  readonly states: number
  readonly steps: number
  readonly ends: number
  readonly deepest: number
}

/** @throws what the model throws, with the steps that led there */
export function explore<State extends object>(model: Model<State>): Exploration {
  const seen = new Set<string>()
  const keyOf = namer()
  const path: string[] = []
  let [steps, ends, deepest] = [0, 0, 0]
  const visit = (state: State): void => {
    const key = keyOf(state)
    if (seen.has(key)) return
    seen.add(key)
    deepest = Math.max(deepest, path.length)
    let last = true
    for (const [step, following] of model.next(state)) {
      last = false
      steps += 1
      path.push(step)
      visit(following)
      path.pop()
    }
    if (last) {
      ends += 1
      model.end(state)
    }
  }
  try {
    visit(model.initial)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n  ${path.join('\n  ')}`, { cause: error })
  }
  return { states: seen.size, steps, ends, deepest }
}

/** Names states by what they hold. A step changes little, and what it leaves alone is the same object: looked at once. */
function namer(): (state: object) => string {
  const byObject = new WeakMap<object, string>()
  const byText = new Map<string, string>()
  const nameOf = (part: unknown): string => {
    if (typeof part !== 'object' || part === null) return String(part)
    let name = byObject.get(part)
    if (name === undefined) {
      const text = JSON.stringify(part)
      name = byText.get(text) ?? String.fromCharCode(0x100 + (byText.size & 0x3fff), 0x100 + (byText.size >> 14))
      byText.set(text, name)
      byObject.set(part, name)
    }
    return name
  }
  return (state) =>
    Object.values(state)
      .map((part) => (Array.isArray(part) ? part.map(nameOf).join(',') : nameOf(part)))
      .join(' ')
}
