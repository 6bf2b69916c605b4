import { expect, test } from 'vitest'
import { BoundedMap } from '../../src/bounded-map.js'

const KEPT = 3

test('the last keys that were set are there, and never more than twice as many', () => {
  const map = new BoundedMap<number, number>(KEPT)
  expect(map.isEmpty).toBe(true)
  for (let key = 0; key < 100; key += 1) {
    map.set(key, key)
    const there = Array.from({ length: key + 1 }, (_, index) => index).filter((index) => map.get(index) !== undefined)
    expect(there.slice(-KEPT)).toEqual([key - 2, key - 1, key].filter((index) => index >= 0))
    expect(there.length).toBeLessThanOrEqual(2 * KEPT)
  }
  expect(map.isEmpty).toBe(false)
})

test('a key that is set again has its new value, and is deleted wherever it is', () => {
  const map = new BoundedMap<string, string>(1)
  map.set('a', 'old')
  map.set('b', 'b')
  map.set('a', 'new')
  expect(map.get('a')).toBe('new')
  map.delete('a')
  expect(map.get('a')).toBeUndefined()
  map.set('a', 'a')
  map.set('a', 'again')
  map.set('b', 'b')
  map.delete('a')
  map.delete('b')
  expect(map.get('a') ?? map.get('b')).toBeUndefined()
})
