import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'

interface DocumentationOptions {
  readonly version: string
  /** What the addresses of all routes begin with. */
  readonly basePath: string
  /** Name of the cookie that admits a subscriber. */
  readonly cookieName?: string | undefined
}

const PROBLEM = {
  description: 'What went wrong, and what to do (RFC 9457)',
  content: {
    'application/problem+json': {
      schema: {
        type: 'object',
        required: ['type', 'title', 'status', 'detail'],
        properties: {
          type: { type: 'string', format: 'uri', examples: ['https://bellwire.dev/problems/validation'] },
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
                pointer: { type: 'string', description: 'JSON pointer into the body, or the name of a parameter or header' },
                detail: { type: 'string' }
              }
            }
          }
        }
      }
    }
  }
}

const EVENT_STREAM = {
  description: 'Server-sent events',
  content: { 'text/event-stream': { schema: { type: 'string', description: 'Frames of event, data, id and retry' } } }
}

const SOCKET = { description: 'The connection is a WebSocket from here on' }

interface Documented {
  hide?: boolean
  produces?: readonly string[]
  response?: Record<string, unknown>
}

/** The OpenAPI 3.1 document and its page, made from the schemas of the routes that are registered later. */
export default fp<DocumentationOptions>(
  async (app, { version, basePath, cookieName = 'session' }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'Bellwire',
          version,
          description: 'Durable notifications for browsers: POST them, hold an EventSource open, get them live and exactly once.'
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
            producer: { type: 'http', scheme: 'bearer', description: 'A publish key' },
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
              description: 'The same token, a signed user id, or a session'
            },
            ticket: { type: 'apiKey', in: 'query', name: 'ticket', description: 'Single use, from POST /v1/tickets' }
          }
        }
      },
      transform: (route) => {
        const transformed = jsonSchemaTransform(route as Parameters<typeof jsonSchemaTransform>[0])
        const schema = transformed.schema as Documented | undefined
        if (!schema || schema.hide) return transformed
        const response: Record<string, unknown> = { ...schema.response }
        if (schema.produces?.includes('text/event-stream')) response['200'] ??= EVENT_STREAM
        if (schema.produces?.includes('websocket')) response['101'] ??= SOCKET
        if (Object.keys(response).length === 0) response['200'] = { description: 'Done' }
        response['default'] ??= PROBLEM
        return { ...transformed, schema: { ...schema, response } as typeof transformed.schema }
      }
    })
    await app.register(swaggerUi, {
      routePrefix: '/documentation',
      indexPrefix: basePath,
      staticCSP: true,
      // On plain HTTP the page would ask for its own parts over TLS.
      transformStaticCSP: (policy) => policy.replace(/\s*upgrade-insecure-requests;?/, '')
    })
  },
  { name: 'documentation' }
)
