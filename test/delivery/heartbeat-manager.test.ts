import { test } from 'tap'
import { type Beating, HeartbeatManager } from '../../src/delivery/heartbeat-manager.ts'

let members = 0

class Member implements Beating {
  readonly number = ++members
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

test('a connection gets one heartbeat an interval, and none after it was removed', async (t) => {
  const wheel = new HeartbeatManager(200)
  t.teardown(() => wheel.stop())
  // The timer of the wheel keeps no process alive; this one does.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const other = new Member()
  const fickle: Member = new Member(() => wheel.remove(fickle))
  const startedAt = performance.now()
  const steady = await new Promise<Member>((resolve) => {
    const member: Member = new Member(() => {
      if (member.beats.length === 4) resolve(member)
    })
    for (const one of [member, fickle, other]) wheel.add(one)
    wheel.start()
  })
  // A busy machine may delay beats, but none comes early.
  t.ok(steady.beats[3]! - startedAt > 3 * 200 - 50)
  t.equal(fickle.beats.length, 1)
  t.ok(other.beats.length >= 3)
  t.equal(wheel.sent, fickle.beats.length + other.beats.length + 4)
})

test('connections that open together get their heartbeats spread over the interval', (t) => {
  const intervalMs = 15_000
  const wheel = new HeartbeatManager(intervalMs)
  const members = Array.from({ length: 1000 }, () => new Member())
  // The test turns the wheel itself. A thousand members join within the first second.
  for (let now = 100, added = 0; now <= 10 * intervalMs; now += 100) {
    for (const last = Math.min(1000, now); added < last; added++) wheel.add(members[added]!)
    wheel.turn(now)
  }
  const bySecond = new Map<number, number>()
  let all = 0
  for (const { beats } of members) {
    if (beats[0]! > intervalMs + 1000) t.fail(`a first beat after ${beats[0]} ms`)
    for (const [i, at] of beats.entries()) {
      if (i > 0 && Math.abs(at - beats[i - 1]! - intervalMs) > 1000)
        t.fail(`two beats ${at - beats[i - 1]!} ms apart`)
      bySecond.set(
        Math.floor((at % intervalMs) / 1000),
        (bySecond.get(Math.floor((at % intervalMs) / 1000)) ?? 0) + 1
      )
      all++
    }
  }
  const fullest = Math.max(...bySecond.values()) / all
  t.equal(bySecond.size, 15, 'in every second of the interval')
  t.ok(fullest < 0.15, `${(100 * fullest).toFixed(1)} % of all beats in the fullest second`)
  t.end()
})
