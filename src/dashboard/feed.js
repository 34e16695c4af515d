/** Figures come every second; after this long without any the stream is dead, whatever the browser believes. */
const SILENCE_MS = 5000
const RETRY_MS = 2000

/**
 * The monitor's stream, for as long as the page lives. An EventSource alone is not enough: it gives up for good on an
 * answer other than 200, cannot tell which it was, and does not notice a peer that vanished. So a plain request asks
 * first, and a 401 is met (and a new key asked for by the browser) once, not at every attempt.
 * `on.stats(body)`; `on.cut(reason)`, reason being `refused` (the key), `ended`, `unanswered`, `silent` or a status.
 */
export function openFeed(url, probeUrl, on) {
  let source
  let heardAt = 0
  let timer

  function listen() {
    heardAt = performance.now()
    source = new EventSource(url)
    source.addEventListener('stats', ({ data }) => {
      heardAt = performance.now()
      on.stats(JSON.parse(data))
    })
    source.onerror = () => lose('ended')
  }

  function lose(reason) {
    source.close()
    source = undefined
    on.cut(reason)
    timer = setTimeout(attempt, RETRY_MS)
  }

  async function attempt() {
    clearTimeout(timer)
    timer = undefined
    const status = await statusOf(probeUrl)
    // Another attempt was quicker.
    if (source || timer) return
    if (status === 200) return listen()
    if (status === 401 || status === 403) return on.cut('refused')
    on.cut(status === undefined ? 'unanswered' : String(status))
    timer = setTimeout(attempt, RETRY_MS)
  }

  setInterval(() => {
    if (source && performance.now() - heardAt > SILENCE_MS) lose('silent')
  }, 1000)
  listen()
  return { attempt }
}

/** What the service answers now; undefined where it does not. */
async function statusOf(url) {
  try {
    const answer = await fetch(url, {
      method: 'HEAD',
      headers: { accept: 'application/json' },
      cache: 'no-store',
      signal: AbortSignal.timeout(SILENCE_MS)
    })
    return answer.status
  } catch {
    return undefined
  }
}
