import { test } from 'tap'
import { LIFETIMES_MS } from '../../src/bounds/limits.ts'
import { Lifetimes } from '../../src/monitoring/lifetimes.ts'

test('the age at which most streams end is found among streams of any age', async (t) => {
  const lifetimes = new Lifetimes()
  t.equal(lifetimes.shared(), null)
  for (let second = 1; second <= 60; second++) {
    lifetimes.tick(second * 1000)
    lifetimes.record(59_700 + (second % 5) * 200)
    if (second % 6 === 0) lifetimes.record(second * 1700)
  }
  const { seconds, ended, share } = lifetimes.shared()!
  t.equal(seconds, 60)
  t.ok(ended >= 60 && ended <= 62)
  t.ok(share > 0.8 && share < 0.95)
})

test('page views, old streams and streams that all end at once have no shared lifetime', async (t) => {
  const lifetimes = new Lifetimes()
  for (let second = 1; second <= 60; second++) {
    lifetimes.tick(second * 1000)
    lifetimes.record(1200)
    lifetimes.record(3_600_000)
  }
  t.equal(lifetimes.shared(), null)
  // A network that fails ends a thousand streams that were opened together.
  for (let n = 0; n < 1000; n++) lifetimes.record(120_000)
  t.ok(lifetimes.shared()!.ended <= 5)
})

test('lifetimes older than the window are forgotten', async (t) => {
  const lifetimes = new Lifetimes()
  lifetimes.tick(LIFETIMES_MS)
  for (let n = 0; n < 5; n++) lifetimes.record(60_000)
  t.equal(lifetimes.shared()!.ended, 5)
  lifetimes.tick(1.6 * LIFETIMES_MS)
  t.equal(lifetimes.shared()!.ended, 5)
  lifetimes.tick(2.2 * LIFETIMES_MS)
  t.equal(lifetimes.shared(), null)
})
