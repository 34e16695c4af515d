/**
 * Turns frames into bytes for one kind of transport. A frame is encoded once and shared by all who
 * receive it.
 */
export interface Codec {
  /**
   * One frame. `data` is JSON text without line ends. `id` is the cursor that the frame moves the
   * client to; null omits it. `retryMs` is the delay before the client reconnects, for codecs that
   * have a field for it.
   */
  frame(event: string, data: string, id: string | null, retryMs?: number | null): Buffer
  /** Several frames, at least one, as one write. */
  join(frames: readonly Buffer[]): Buffer
}

/**
 * Server-sent events (WHATWG HTML, 9.2). `id` is the last field, so a frame cut in transit never
 * moves a cursor. Everything written here is ours or JSON, which has no raw line end, so no content
 * can forge a frame.
 */
export const sseCodec: Codec = {
  frame: (event, data, id, retryMs) => {
    const retry = retryMs == null ? '' : `retry: ${retryMs}\n`
    const lastField = id === null ? '' : `id: ${id}\n`
    return Buffer.from(`${retry}event: ${event}\ndata: ${data}\n${lastField}\n`)
  },
  join: (frames) => (frames.length === 1 ? frames[0]! : Buffer.concat(frames))
}

/** One event as JSON, for transports without a syntax of their own for events. */
const encodeMessage = (event: string, data: string, id: string | null): string =>
  `{"event":"${event}",${id === null ? '' : `"id":"${id}",`}"data":${data}}`

const COMMA = Buffer.from(',')

/** The elements of `events` in the answer to a poll. */
export const pollCodec: Codec = {
  frame: (event, data, id) => Buffer.from(encodeMessage(event, data, id)),
  join: (frames) =>
    frames.length === 1
      ? frames[0]!
      : Buffer.concat(frames.flatMap((frame, i) => (i ? [COMMA, frame] : [frame])))
}

/**
 * First byte of a text message in one frame, and the lengths that announce a longer field (RFC
 * 6455, 5.2).
 */
const WHOLE_TEXT = 0x81
const LENGTH_16 = 126
const LENGTH_64 = 127

/**
 * WebSocket messages. A server does not mask what it sends, so all clients can share a frame with
 * its head.
 */
export const socketCodec: Codec = {
  frame: (event, data, id) => {
    const text = encodeMessage(event, data, id)
    const length = Buffer.byteLength(text)
    const headLength = length < LENGTH_16 ? 2 : length <= 0xffff ? 4 : 10
    const frame = Buffer.allocUnsafe(headLength + length)
    frame[0] = WHOLE_TEXT
    if (headLength === 2) frame[1] = length
    else if (headLength === 4) {
      frame[1] = LENGTH_16
      frame.writeUInt16BE(length, 2)
    } else {
      frame[1] = LENGTH_64
      frame.writeBigUInt64BE(BigInt(length), 2)
    }
    frame.write(text, headLength)
    return frame
  },
  join: (frames) => (frames.length === 1 ? frames[0]! : Buffer.concat(frames))
}
