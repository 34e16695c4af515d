/** Where this service is: the page's folder, so that a base path is part of it. */
export const base = new URL('.', location.href).href

/** Asks the addresses below /demo, which stand for a login and a backend of your own. */
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
