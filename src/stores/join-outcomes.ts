import type { Slice } from '../bounds/fair-queue.ts'
import type { PublishOutcome } from '../log/store.ts'

/**
 * Joins the outcomes of the slices of one call, in order. If some slices failed, their items are
 * `failed`. If all failed, rejects with the reason of the first.
 */
export async function joinOutcomes(
  slices: readonly Slice<unknown>[],
  answers: readonly Promise<readonly PublishOutcome[]>[]
): Promise<readonly PublishOutcome[]> {
  if (answers.length === 1) return answers[0]!
  const settled = await Promise.allSettled(answers)
  return rejectIfAllFailed(
    settled.flatMap((one, k): readonly PublishOutcome[] => {
      if (one.status === 'fulfilled') return one.value
      return slices[k]!.items.map(() => ({ kind: 'failed', error: one.reason }))
    })
  )
}

/**
 * Throws the first reason if every item failed: nothing was appended, so the whole call may be
 * retried.
 */
export function rejectIfAllFailed(outcomes: readonly PublishOutcome[]): readonly PublishOutcome[] {
  const [first] = outcomes
  if (first?.kind === 'failed' && outcomes.every(({ kind }) => kind === 'failed')) throw first.error
  return outcomes
}
