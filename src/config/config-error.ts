/**
 * The settings cannot be used. Each line is one fault and says what to do; none shows a value,
 * which may be a secret.
 */
export class ConfigError extends Error {
  readonly lines: readonly string[]
  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.name = 'ConfigError'
    this.lines = lines
  }
}
