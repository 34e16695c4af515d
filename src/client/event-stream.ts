/** One event of a stream, with the names of the standard. */
export interface StreamEvent {
  readonly event: string
  readonly data: string
  readonly id: string
}

/**
 * Reads an event stream (WHATWG HTML, 9.2.6) to its end, in chunks of any size. UTF-8 that is split
 * between chunks is joined, and a byte order mark is skipped. An event without its final blank line
 * is dropped, so a stream that was cut moves no cursor.
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
    const chunk = await reader.read()
    if (chunk.done) return
    // A CR at the end of a chunk waits: an LF at the start of the next one belongs to it.
    const lines = (rest + chunk.value).split(/\r\n|\n|\r(?!$)/)
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
