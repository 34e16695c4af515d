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

const COMMA = Buffer.from(',')

/** The elements of `events` in the answer to a poll. */
export const pollCodec: Codec = {
  frame: (event, data, id) => Buffer.from(`{"event":"${event}",${id === null ? '' : `"id":"${id}",`}"data":${data}}`),
  join: (frames) =>
    frames.length === 1 ? frames[0]! : Buffer.concat(frames.flatMap((frame, i) => (i ? [COMMA, frame] : [frame])))
}
