/** How frames become bytes for one kind of transport. A frame is encoded once per codec and shared by all its readers. */
export interface Codec {
  /**
   * One frame. `data` is JSON text without line ends, `id` the cursor it moves to (null: none to tell), `retryMs` the delay
   * before a reconnect.
   */
  frame(event: string, data: string, id: string | null, retryMs?: number | null): Buffer
  /** Several frames as one write. */
  join(frames: readonly Buffer[]): Buffer
}

/**
 * Server-sent events (WHATWG HTML, 9.2). `id` stands last, so that a frame cut in transit never moves a cursor; no comment lines;
 * everything written here is either ours or JSON, which holds no raw line end, so no content can forge a frame.
 */
export const sseCodec: Codec = {
  frame: (event, data, id, retryMs) =>
    Buffer.from(
      `${retryMs == null ? '' : `retry: ${retryMs}\n`}event: ${event}\ndata: ${data}\n${id === null ? '' : `id: ${id}\n`}\n`
    ),
  join: (frames) => (frames.length === 1 ? frames[0]! : Buffer.concat(frames))
}

/** One event as JSON, for the transports that have no syntax of their own for it. */
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

/** First byte of a text message in one frame, and the lengths that stand for a longer field (RFC 6455, 5.2). */
const WHOLE_TEXT = 0x81
const LENGTH_16 = 126
const LENGTH_64 = 127

/** WebSocket messages. What a server sends is not masked, so one frame's bytes, head included, do for all its readers. */
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
