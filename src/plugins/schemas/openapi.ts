import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'

/**
 * Headers that a handler reads itself, for the documentation: the framework does not check them.
 */
export const REQUEST_HEADERS = {
  'Idempotency-Key': {
    type: 'string',
    pattern: '^[!-~]{1,255}$',
    description:
      'Makes a retry safe: within 24 h, the same key with the same body gets the same response and is delivered once; with another body it is rejected. Use a new value, such as a UUID, for each notification.'
  },
  'Last-Event-ID': {
    type: 'string',
    description:
      'Cursor to resume from: the `id` of the last event that arrived. Takes precedence over `since`; browsers send it by themselves.'
  }
} as const

/** Name of a header that a handler reads itself. */
export type RequestHeader = keyof typeof REQUEST_HEADERS

/** Responses that need no schema of their own. */
export const RESPONSES = {
  problem: {
    description: 'What went wrong, and what to do (RFC 9457)',
    content: {
      'application/problem+json': {
        schema: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail'],
          properties: {
            type: {
              type: 'string',
              format: 'uri',
              examples: ['https://bellwire.dev/problems/validation']
            },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
            requestId: { type: 'string' },
            errors: {
              type: 'array',
              items: {
                type: 'object',
                required: ['pointer', 'detail'],
                properties: {
                  pointer: {
                    type: 'string',
                    description: 'JSON pointer into the body, or the name of a parameter or header'
                  },
                  detail: { type: 'string' }
                }
              }
            }
          }
        }
      }
    }
  },
  eventStream: {
    description: 'Server-sent events',
    content: {
      'text/event-stream': {
        schema: { type: 'string', description: 'Frames of event, data, id and retry' }
      }
    }
  },
  webSocket: { description: 'The connection is now a WebSocket' },
  done: { description: 'Done' }
} as const

type Openapi = NonNullable<FastifyDynamicSwaggerOptions['openapi']>

/** The OpenAPI document without its paths. */
export const openapiDocument = (
  version: string,
  basePath: string,
  cookieName: string
): Openapi => ({
  openapi: '3.1.0',
  info: {
    title: 'Bellwire',
    version,
    license: { name: 'MIT', identifier: 'MIT' },
    description:
      'Durable notifications for browsers: POST them, hold an EventSource open, get them live and exactly once.'
  },
  servers: [{ url: basePath || '/' }],
  tags: [
    { name: 'publish', description: 'For backend services' },
    { name: 'stream', description: 'Live delivery to subscribers' },
    { name: 'inbox', description: 'What a subscriber reads and marks' },
    { name: 'operations', description: 'For operators' }
  ],
  components: {
    securitySchemes: {
      producer: {
        type: 'http',
        scheme: 'bearer',
        description:
          'A publish key. Each operation names the scope that the key needs; PUBLISH_SCOPES may restrict a key, which then gets 403.'
      },
      operator: { type: 'http', scheme: 'bearer', description: 'A monitor key' },
      bearer: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description: 'A subscriber’s token: sub, exp, topics'
      },
      cookie: {
        type: 'apiKey',
        in: 'cookie',
        name: cookieName,
        description: 'The same token, a signed user name, or a session'
      },
      ticket: {
        type: 'apiKey',
        in: 'query',
        name: 'ticket',
        description: 'Single use, from POST /v1/tickets'
      }
    }
  }
})
