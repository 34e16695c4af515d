/** One event of a stream, as the standard names its parts. */
export interface StreamEvent {
  readonly event: string
  readonly data: string
  readonly id: string
}

/**
 * Reads an event stream (WHATWG HTML, 9.2.6) to its end, in pieces of any size. UTF-8 split anywhere is put together, and a byte
 * order mark left out. An event that its end never reached is not told, so a stream that was cut moves no cursor.
 */
export async function readEventStream(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onEvent: (event: StreamEvent) => void,
  onRetry: (ms: number) => void
): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let event = ''
  let data: string[] = []
  let id = ''
  for (;;) {
    const piece = await reader.read()
    if (piece.done) return
    // A CR at the end of a piece waits: an LF that comes in the next one belongs to it.
    const lines = (rest + piece.value).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()!
    for (const line of lines) {
      const [, field, value = ''] = /^([^:]*):? ?(.*)/s.exec(line)!
      if (field === 'data') data.push(value)
      else if (field === 'event') event = value
      else if (field === 'id' && !value.includes('\0')) id = value
      else if (field === 'retry' && /^\d+$/.test(value)) onRetry(Number(value))
      else if (!line) {
        if (data.length) onEvent({ event: event || 'message', data: data.join('\n'), id })
        event = ''
        data = []
      }
    }
  }
}
