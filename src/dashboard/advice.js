import { byId, element, keyed, setText } from './dom.js'
import { time } from './format.js'

const SEVERITIES = { critical: 'Critical', warning: 'Warning', info: 'Info' }

/** Shows the recommendations, the most severe first, as the service sorts them. */
export function showAdvice({ recommendations }) {
  keyed(
    byId('advice'),
    recommendations,
    ({ code }) => code,
    () =>
      element(
        'li',
        { class: 'card' },
        element('p', { class: 'meta' }, element('strong'), element('span', { class: 'faint' })),
        element('p', { class: 'message' }),
        element('p', { class: 'action' })
      ),
    (node, { code, severity, message, action, since }) => {
      node.dataset.severity = severity
      const [label, detail] = node.firstElementChild.children
      setText(label, SEVERITIES[severity] ?? severity)
      setText(detail, since ? `${code} · since ${time(since)}` : code)
      setText(node.children[1], message)
      setText(node.children[2], action)
    }
  )
  const empty = byId('advice-empty')
  empty.hidden = recommendations.length > 0
  setText(empty, 'Nothing: all checks pass.')
}
