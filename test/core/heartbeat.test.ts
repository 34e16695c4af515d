import { test } from 'tap'
import { type Beating, HeartbeatManager } from '../../src/core/heartbeat.ts'

class Member implements Beating {
  slot = -1
  beats: number[] = []
  readonly #heard: (() => void) | undefined
  constructor(heard?: () => void) {
    this.#heard = heard
  }
  beat(now: number): boolean {
    this.beats.push(now)
    this.#heard?.()
    return true
  }
}

test('a member beats once an interval, and not after it was removed, not even in the turn that removes it', async (t) => {
  const wheel = new HeartbeatManager(200)
  t.teardown(() => wheel.stop())
  // The wheel alone does not keep a process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const other = new Member()
  const fickle: Member = new Member(() => wheel.remove(fickle))
  const steady = await new Promise<Member>((resolve) => {
    const member: Member = new Member(() => {
      if (member.beats.length === 4) resolve(member)
    })
    for (const one of [member, fickle, other]) wheel.add(one)
    wheel.start()
  })
  for (let i = 1; i < 4; i++) t.ok(steady.beats[i]! - steady.beats[i - 1]! > 100)
  t.equal(fickle.beats.length, 1)
  t.ok(other.beats.length >= 3)
  t.equal(wheel.sent, fickle.beats.length + other.beats.length + 4)
})

test('members that come together are spread, and a first beat comes within the interval', (t) => {
  const wheel = new HeartbeatManager(15_000)
  const members = Array.from({ length: 1000 }, () => new Member())
  for (const member of members) wheel.add(member)
  const bySlot = new Map<number, number>()
  for (const { slot } of members) bySlot.set(slot, (bySlot.get(slot) ?? 0) + 1)
  t.ok(bySlot.size >= 10, 'over the second that the first beat may come early')
  t.ok(Math.max(...bySlot.values()) <= 110)
  t.end()
})
