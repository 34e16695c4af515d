/** The URL of this service: the folder of the page, which includes a base path. */
export const base = new URL('.', location.href).href

/**
 * POSTs to a path below /demo, which stands for your own login and backend. Throws an `Error` for a
 * person to read.
 */
export async function ask(path, body) {
  const response = await fetch(`${base}demo/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  }).catch(() => {
    throw new Error('the service cannot be reached')
  })
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return answer
  const faults = answer.errors?.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ')
  throw new Error(faults || answer.detail || `status ${response.status}`)
}
