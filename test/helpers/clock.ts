/** The clock that users of the package get is the one that its own tests go by. */
export { type FakeClock, fakeClock } from '../../src/testing/fake-clock.js'
