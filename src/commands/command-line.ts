import { parseArgs } from 'node:util'
import { nearestWord } from '../config/misspelt.ts'
import { CommandError } from './command-error.ts'
import { type CommandName, USAGE, WORDS } from './usage.ts'

/** What a command is called with. Options that were not given are undefined. */
export interface Invocation {
  readonly argument: string | undefined
  readonly host: string | undefined
  readonly port: string | undefined
  readonly topics: string | undefined
}

/** Runs one command. Throws if the command failed. */
export type Command = (invocation: Invocation) => void | Promise<void>

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  'check-config': { type: 'boolean' },
  port: { type: 'string' },
  host: { type: 'string' },
  topics: { type: 'string' }
} as const

const isOption = (name: string): name is keyof typeof OPTIONS => Object.hasOwn(OPTIONS, name)
const isWord = (name: string): name is (typeof WORDS)[number] =>
  (WORDS as readonly string[]).includes(name)

/**
 * Reads the words behind `bellwire`. Throws a {@link CommandError} if it does not know one of them.
 */
export function readCommandLine(args: readonly string[]): Invocation & { name: CommandName } {
  // Without Node's own check: its messages are about the parser, not about what to type.
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    options: OPTIONS,
    tokens: true
  })
  for (const token of tokens)
    if (token.kind === 'option') checkOption(token.rawName, token.name, token.value)
  const [word, argument, ...extra] = positionals
  const text = (value: string | boolean | undefined): string | undefined =>
    typeof value === 'string' ? value : undefined
  const topics = text(values.topics)
  const invocation = { argument, host: text(values.host), port: text(values.port), topics }
  if (values.help) return { name: 'help', ...invocation }
  if (values.version) return { name: 'version', ...invocation }
  if (word === undefined)
    return { name: values['check-config'] ? 'check-config' : 'serve', ...invocation }
  if (!isWord(word))
    throw new CommandError(`there is no command ${JSON.stringify(word)}: ${meant(word, WORDS)}`)
  if (extra.length > 0) {
    const hint =
      word === 'token' && topics === undefined ? `: did you mean --topics ${extra.join(',')}?` : ''
    throw new CommandError(
      `${USAGE[word][0]}: ${JSON.stringify(extra[0])} is one word too many${hint}`
    )
  }
  return { name: word, ...invocation }
}

function checkOption(typed: string, name: string, value: string | undefined): void {
  if (!isOption(name))
    throw new CommandError(
      `there is no option ${typed}: ${meant(name, Object.keys(OPTIONS), '--')}`
    )
  const { type } = OPTIONS[name]
  if (type === 'string' && value === undefined)
    throw new CommandError(`${typed} needs a value: ${typed} <${name}>`)
  if (type === 'boolean' && value !== undefined) throw new CommandError(`${typed} takes no value`)
}

function meant(word: string, known: readonly string[], dashes = ''): string {
  const nearest = nearestWord(word, known)
  return nearest === undefined ? 'see --help' : `did you mean ${dashes}${nearest}?`
}
