/** What the log tells of an error. */
export interface ErrorDescription {
  readonly type: string
  readonly message: string
  readonly code?: string | undefined
  readonly stack: string
  readonly cause?: ErrorDescription | undefined
}

/** Causes within causes that are told. */
const MAX_CAUSES = 4
const MAX_MESSAGE = 500

/**
 * An error for the log: its type, code, message and where it was thrown, and nothing else. Libraries hang what they were given on their
 * errors (a command with its arguments, a query, a request), and that is what somebody published.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error))
    return { type: typeof error, message: 'not an error was thrown', stack: '' }
  const { code } = error as NodeJS.ErrnoException
  return {
    type: error.name,
    message: messageOf(error),
    ...(typeof code === 'string' ? { code } : {}),
    // Without its first lines, which are the message again.
    stack: (error.stack ?? '')
      .split('\n')
      .filter((line) => /^ {4}at /.test(line))
      .join('\n'),
    ...(error.cause instanceof Error && depth < MAX_CAUSES
      ? { cause: describeError(error.cause, depth + 1) }
      : {})
  }
}

/**
 * The message of an error without what it quotes: JSON.parse quotes the text that it could not read, `fetch` the header that it does not
 * take, Redis the command that it does not know.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return 'not an error was thrown'
  return error.message
    .replace(/"[\s\S]*"/, '"…"')
    .replace(/, with args beginning with[\s\S]*/, '')
    .slice(0, MAX_MESSAGE)
}
