/** Every command, in the order of `--help`: what to type after `bellwire`, and what it does. */
export const USAGE = {
  serve: ['[--host H] [--port P]', 'start the service'],
  'check-config': ['--check-config', 'check the settings and exit'],
  token: ['token <user> [--topics a,b]', 'print a subscriber JWT for a trial, valid for an hour'],
  export: ['export [file]', 'write all data of the store as lines of JSON; replaces the file'],
  backup: ['backup <file>', 'copy the embedded database to a new file, even while it is in use'],
  import: ['import [file]', 'fill an empty store from an export, with the service stopped'],
  help: ['--help', 'print this page'],
  version: ['--version', 'print the version']
} as const

/** Name of a command. */
export type CommandName = keyof typeof USAGE

/** Commands that are typed as a word, with one argument at most. Options ask for the others. */
export const WORDS = ['token', 'export', 'backup', 'import'] as const
