/** One event of a stream, as the standard names its parts. */
export interface StreamEvent {
  readonly event: string
  readonly data: string
  readonly id: string
}

/**
 * Reads an event stream (WHATWG HTML, 9.2.6) from text in pieces of any size. Returns what takes the next piece. An event
 * that its end never reached is not told, so a stream that was cut moves no cursor.
 */
export function eventStreamParser(onEvent: (event: StreamEvent) => void, onRetry: (ms: number) => void): (text: string) => void {
  let rest = ''
  let afterCr = false
  let event = ''
  let data: string[] = []
  let id = ''

  const line = (text: string): void => {
    if (text === '') {
      if (data.length) onEvent({ event: event || 'message', data: data.join('\n'), id })
      event = ''
      data = []
      return
    }
    const colon = text.indexOf(':')
    const field = colon < 0 ? text : text.slice(0, colon)
    const value = colon < 0 ? '' : text.slice(colon + (text[colon + 1] === ' ' ? 2 : 1))
    if (field === 'data') data.push(value)
    else if (field === 'event') event = value
    else if (field === 'id' && !value.includes('\0')) id = value
    else if (field === 'retry' && /^\d+$/.test(value)) onRetry(Number(value))
  }

  return (text) => {
    // A CR ends its line at once; an LF that comes in the next piece belongs to it.
    if (afterCr && text[0] === '\n') text = text.slice(1)
    else if (text === '') return
    afterCr = text.endsWith('\r')
    const lines = (rest + text).split(/\r\n|\r|\n/)
    rest = lines.pop()!
    for (const one of lines) line(one)
  }
}

/** Reads a body to its end. UTF-8 split anywhere is put together, and a byte order mark left out. */
export async function readEventStream(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onEvent: (event: StreamEvent) => void,
  onRetry: (ms: number) => void
): Promise<void> {
  const feed = eventStreamParser(onEvent, onRetry)
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    feed(value)
  }
}
