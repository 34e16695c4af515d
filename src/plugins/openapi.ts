import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import { POLICIES } from './transports/policies.ts'

interface DocumentationOptions {
  readonly version: string
  /** What the addresses of all routes begin with. */
  readonly basePath: string
  /** Name of the cookie that admits a subscriber. */
  readonly cookieName?: string | undefined
}

declare module 'fastify' {
  interface FastifySchema {
    /** Headers that the handler reads itself: told to readers, not checked by the framework. */
    reads?: readonly ReadHeader[]
  }
}

type ReadHeader = keyof typeof HEADERS

const HEADERS = {
  'Idempotency-Key': {
    type: 'string',
    pattern: '^[!-~]{1,255}$',
    description:
      'Makes a repetition safe: within 24 h the same key with the same body is answered alike and delivered once, with another body refused. A new value for each thing that is said, such as a UUID.'
  },
  'Last-Event-ID': {
    type: 'string',
    description:
      'Cursor to go on from: the `id` of the last event that arrived. Wins over `since`; browsers send it by themselves.'
  }
} as const

const PROBLEM = {
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
}

const EVENT_STREAM = {
  description: 'Server-sent events',
  content: {
    'text/event-stream': {
      schema: { type: 'string', description: 'Frames of event, data, id and retry' }
    }
  }
}

const SOCKET = { description: 'The connection is a WebSocket from here on' }

const BELL =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="#2456c9" d="M12 2a6 6 0 0 0-6 6v4.6L4.3 16a1 1 0 0 0 .9 1.5h13.6a1 1 0 0 0 .9-1.5L18 12.6V8a6 6 0 0 0-6-6Zm0 20a3 3 0 0 0 2.8-2H9.2A3 3 0 0 0 12 22Z"/></svg>'

/** The page as the library makes it, told that it may be as narrow as a phone. */
const fitted = (page: string): string =>
  page.replace(
    '<head>',
    '<head>\n      <meta name="viewport" content="width=device-width, initial-scale=1">'
  )

interface Documented {
  hide?: boolean
  headers?: unknown
  reads?: readonly ReadHeader[]
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
            ticket: {
              type: 'apiKey',
              in: 'query',
              name: 'ticket',
              description: 'Single use, from POST /v1/tickets'
            }
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
        response['4XX'] ??= PROBLEM
        response['default'] ??= PROBLEM
        const { reads = [], ...told } = schema
        const headers = {
          type: 'object',
          properties: Object.fromEntries(reads.map((name) => [name, HEADERS[name]]))
        }
        const documented = { ...told, response, ...(reads.length > 0 ? { headers } : {}) }
        return { ...transformed, schema: documented as typeof transformed.schema }
      }
    })
    // Made once: it is the same for everyone, and anyone may ask for it.
    let document: string | undefined
    await app.register(async (page) => {
      page.addHook('onRequest', async (request, reply) => {
        if (!request.routeOptions.url?.endsWith('/documentation/json')) return
        document ??= JSON.stringify(app.swagger())
        return reply.type('application/json; charset=utf-8').send(document)
      })
      page.addHook('onSend', async (_request, reply, payload) =>
        typeof payload === 'string' &&
        String(reply.getHeader('content-type')).startsWith('text/html')
          ? fitted(payload)
          : payload
      )
      await page.register(swaggerUi, {
        routePrefix: '/documentation',
        indexPrefix: basePath,
        staticCSP: POLICIES.documentation,
        // Without the bar on top: it offers other documents, and styles itself inline, which the policy refuses.
        uiConfig: { layout: 'BaseLayout' },
        logo: { type: 'image/svg+xml', content: BELL },
        theme: {
          title: 'Bellwire',
          favicon: [
            {
              filename: 'bell.svg',
              rel: 'icon',
              type: 'image/svg+xml',
              sizes: 'any',
              content: BELL
            }
          ]
        }
      })
    })
  },
  { name: 'documentation' }
)
