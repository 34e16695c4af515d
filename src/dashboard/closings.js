import { byId, element, keyed, setText } from './dom.js'
import { count } from './format.js'

/** What each reason means. A reason without a text is shown by its name only. */
const REASONS = {
  gone: 'the client disconnected',
  closed: 'closed by an operator',
  drain: 'the process was shutting down',
  expired: 'the credential expired',
  revoked: "the user's access was revoked",
  rotate: 'reached its maximum age',
  slow: 'the client read too slowly',
  stale: 'the client stopped responding',
  limit: 'over a connection limit',
  unavailable: 'the store or the session lookup failed'
}

/** Shows how often each reason occurred; returns the sum. */
function showReasons(list, reasons) {
  const rows = Object.entries(reasons ?? {}).sort(([, a], [, b]) => b - a)
  const most = rows[0]?.[1] ?? 0
  keyed(
    list,
    rows,
    ([reason]) => reason,
    ([reason]) =>
      element(
        'li',
        {},
        element(
          'span',
          { class: 'reason' },
          element('code', {}, reason),
          ` ${REASONS[reason] ?? ''}`
        ),
        element('span', { class: 'number' }),
        element('meter', { min: '0', 'aria-hidden': 'true' })
      ),
    (row, [, n]) => {
      const [, figure, meter] = row.children
      setText(figure, count(n))
      meter.max = most
      meter.value = n
    }
  )
  return rows.reduce((sum, [, n]) => sum + n, 0)
}

/** Shows why streams were closed and refused. */
export function showClosings({ closed, refused, opened }) {
  const total = showReasons(byId('closings'), closed)
  byId('closings-empty').hidden = total > 0
  setText(byId('closings-total'), opened > 0 ? `${count(total)} of ${count(opened)} opened` : '')
  byId('refusals-box').hidden = showReasons(byId('refusals'), refused) === 0
}
