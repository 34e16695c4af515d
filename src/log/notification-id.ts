import { randomFillSync } from 'node:crypto'

const POOL = Buffer.alloc(16 * 256)

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
    counter = POOL.readUInt16BE(at) >>> 5
  } else if (++counter > 0xfff) {
    lastMs++
    counter = 0
  }
  const time = lastMs.toString(16).padStart(12, '0')
  POOL.writeUInt8(0x80 | (POOL.readUInt8(at + 8) & 0x3f), at + 8)
  const random = POOL.toString('hex', at + 8, at + 16)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}-${random.slice(0, 4)}-${random.slice(4)}`
}
