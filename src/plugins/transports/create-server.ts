import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import type { Config } from '../../config/config.ts'
import { parseQuery } from '../schemas/query.ts'
import type { AnswerOptions } from './answer.ts'
import { requestIdOf } from './request-id.ts'
import { serverOptions } from './server-options.ts'

/** Longest parameter in a path, in characters: several times a percent-encoded user name. */
const MAX_PARAM_LENGTH = 8192

interface Needs extends Pick<AnswerOptions, 'isLast' | 'onSlow'> {
  readonly log: FastifyBaseLogger
}

/** Creates the HTTP server, without any route. */
export function createServer(
  { trustProxy, stallMs }: Pick<Config, 'trustProxy' | 'stallMs'>,
  { log, ...answers }: Needs
): FastifyInstance {
  const app = Fastify({
    loggerInstance: log,
    // A line for each request costs more than the request; errors have lines of their own.
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy,
    requestIdHeader: false,
    genReqId: requestIdOf,
    ...serverOptions({ ...answers, stallMs }),
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, querystringParser: parseQuery }
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  return app
}
