/**
 * Figures arrive every second: after this long without any the stream is dead, whatever the browser
 * reports.
 */
const SILENCE_MS = 5000
const RETRY_MS = 2000

/**
 * Keeps the monitor's stream open as long as the page lives. An EventSource alone is not enough: it
 * gives up for good on a response other than 200, does not report which one, and does not notice a
 * server that vanished. So a plain request goes first. On a 401 the browser asks for a new key
 * once, not at every attempt. Calls `on.stats(body)` and `on.cut(reason)`; the reason is `refused`
 * (the key), `ended`, `unanswered`, `silent` or a status.
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
    // Another attempt was faster.
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

/** The status that the service answers with; undefined if it does not answer. */
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
