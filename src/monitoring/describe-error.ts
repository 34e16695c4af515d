/** An error as the log shows it. */
export interface ErrorDescription {
  readonly type: string
  readonly message: string
  readonly code?: string | undefined
  readonly stack: string
  readonly cause?: ErrorDescription | undefined
}

/** Nested causes that are shown. */
const MAX_CAUSES = 4
const MAX_MESSAGE = 500

/**
 * Describes an error for the log: type, code, message and stack, nothing else. Libraries attach
 * their arguments to errors (a command, a query, a request), and those contain what callers
 * published.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error))
    return { type: typeof error, message: 'not an error was thrown', stack: '' }
  const { code } = error as NodeJS.ErrnoException
  return {
    type: error.name,
    message: messageOf(error),
    ...(typeof code === 'string' ? { code } : {}),
    // Without the first lines, which repeat the message.
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
 * The message of an error without what it quotes: JSON.parse quotes the text it cannot parse,
 * `fetch` an invalid header, Redis an unknown command.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return 'not an error was thrown'
  return error.message
    .replace(/"[\s\S]*"/, '"…"')
    .replace(/, with args beginning with[\s\S]*/, '')
    .slice(0, MAX_MESSAGE)
}
