import { type Logger, pino } from 'pino'
import type { Config } from '../config/config.ts'
import { describeError } from './describe-error.ts'

/** Creates the log of this process: lines of JSON on standard output. */
export const createLog = ({ logLevel }: Pick<Config, 'logLevel'>): Logger =>
  pino({
    level: logLevel,
    // Without headers and query: secrets travel there.
    serializers: {
      req: (request) => ({
        method: request.method,
        path: request.url?.split('?')[0],
        remoteAddress: request.ip
      }),
      res: (reply) => ({ statusCode: reply.statusCode }),
      err: (error) => ({ ...describeError(error) })
    }
  })
