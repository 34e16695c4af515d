import { MIN_SILENCE_MS } from '../../bounds/limits.ts'
import { rejectionLevel } from '../producer-minute.ts'
import { duration, type Rule } from './rule.ts'

/** Do producers publish, and do we accept it? */
export const PRODUCER_RULES: readonly Rule[] = [
  {
    code: 'rejected-publishes',
    severity: 'warning',
    level: ({ rejections }) => (rejections ? rejectionLevel(rejections) : 0),
    firesAt: 1,
    clearsBelow: 0.5,
    message: ({ rejections: one }) =>
      one
        ? `${one.refused} of ${one.asked} publishes were refused in the last minute, most of them from the producer ${one.producer}, most often for ${one.problem}.`
        : 'Many publishes were refused; none in the last minute.',
    action: () =>
      'Check what that producer sends: every response lists in errors what to change. publish.rejectedBy counts by problem; the log has the request ids.'
  },
  {
    code: 'no-publishes',
    // Nights and weekends look the same: worth a look, not an alarm.
    severity: 'info',
    level: (v) =>
      v.silenceMs === null ? 0 : v.silenceMs / Math.max(MIN_SILENCE_MS, 3 * v.longestSilenceMs),
    firesAt: 1,
    clearsBelow: 1,
    keepFiringForMs: 0,
    message: (v) =>
      `Nothing was published for ${duration(v.silenceMs ?? 0)}; the longest pause since the start was ${duration(v.longestSilenceMs)}.`,
    action: () =>
      'Check that the producers are running, can reach this address and have valid keys. publish.rejected counts rejected publishes.'
  }
]
