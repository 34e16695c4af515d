import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ProblemError } from './problem.ts'

/** The text of a JSON body; undefined if there is none to parse, and then `done` was called. */
export function decodeJson(
  request: FastifyRequest,
  body: Buffer,
  done: (error: Error | null, body?: unknown) => void
): string | undefined {
  const { 'content-encoding': encoding } = request.headers
  if (body.length === 0 && request.method === 'DELETE') done(null, undefined)
  else if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    done(
      new ProblemError(
        'unsupported-media-type',
        'Send the body as it is, without Content-Encoding.'
      )
    )
  else if (body.length === 0) done(new ProblemError('malformed', 'The body is empty; send JSON.'))
  else if (!isUtf8(body)) done(new ProblemError('malformed', 'The body is not valid UTF-8.'))
  // A byte order mark may be ignored (RFC 8259, 8.1).
  else return body.toString('utf8', startsWithMark(body) ? 3 : 0)
  return undefined
}

const startsWithMark = (body: Buffer): boolean =>
  body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf

/**
 * Makes the routes of a scope read JSON bodies with `parse`, which rejects for a text it cannot
 * read.
 */
export function parseJsonWith(
  scope: FastifyInstance,
  parse: (text: string) => Promise<unknown>
): void {
  scope.removeContentTypeParser('application/json')
  scope.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      const text = decodeJson(request, body, done)
      if (text !== undefined) parse(text).then((value) => done(null, value), done)
    }
  )
}
