/**
 * Why a command failed: one line for each fault, which says what to do. Ends the process with 1.
 */
export class CommandError extends Error {
  readonly lines: readonly string[]
  constructor(...lines: string[]) {
    super(lines.join('\n'))
    this.name = 'CommandError'
    this.lines = lines
  }
}
