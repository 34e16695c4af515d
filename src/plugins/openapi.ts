import swagger, { type SwaggerTransform } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import {
  openapiDocument,
  REQUEST_HEADERS,
  RESPONSES,
  type RequestHeader
} from './schemas/openapi.ts'
import { POLICIES } from './transports/policies.ts'

declare module 'fastify' {
  interface FastifySchema {
    /** Headers that the handler reads itself: documented, but not checked by the framework. */
    reads?: readonly RequestHeader[]
  }
}

interface OpenapiOptions {
  readonly version: string
  /** Prefix of all routes. */
  readonly basePath: string
  /** Name of the cookie that holds a subscriber's credential. */
  readonly cookieName?: string | undefined
}

/** The OpenAPI 3.1 document and its page, made from the schemas of the routes registered later. */
export default fp<OpenapiOptions>(
  async (app, { version, basePath, cookieName = 'session' }) => {
    await app.register(swagger, {
      openapi: openapiDocument(version, basePath, cookieName),
      transform: documented
    })
    await app.register(async (scope) => servePage(scope, basePath))
  },
  { name: 'openapi' }
)

/** The schema of a route as the document shows it. */
const documented: SwaggerTransform = (route) => {
  const transformed = jsonSchemaTransform(route)
  const { schema } = transformed
  if (!schema || schema.hide) return transformed
  const { reads = [], ...rest } = schema
  const { produces = [] } = rest
  const response: Record<string, unknown> = Object.assign({}, rest.response)
  if (produces.includes('text/event-stream')) response['200'] ??= RESPONSES.eventStream
  if (produces.includes('websocket')) response['101'] ??= RESPONSES.webSocket
  if (Object.keys(response).length === 0) response['200'] = RESPONSES.done
  response['4XX'] ??= RESPONSES.problem
  response['default'] ??= RESPONSES.problem
  const properties = Object.fromEntries(reads.map((name) => [name, REQUEST_HEADERS[name]]))
  const headers = reads.length > 0 ? { headers: { type: 'object', properties } } : {}
  return { ...transformed, schema: { ...rest, response, ...headers } }
}

const BELL = {
  type: 'image/svg+xml',
  content:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="#2456c9" d="M12 2a6 6 0 0 0-6 6v4.6L4.3 16a1 1 0 0 0 .9 1.5h13.6a1 1 0 0 0 .9-1.5L18 12.6V8a6 6 0 0 0-6-6Zm0 20a3 3 0 0 0 2.8-2H9.2A3 3 0 0 0 12 22Z"/></svg>'
}

async function servePage(scope: FastifyInstance, basePath: string): Promise<void> {
  // Built once: it is the same for everyone, and anyone may ask for it.
  let document: string | undefined
  scope.addHook('onRequest', async (request, reply) => {
    if (!request.routeOptions.url?.endsWith('/documentation/json')) return
    document ??= JSON.stringify(scope.swagger())
    return reply.type('application/json; charset=utf-8').send(document)
  })
  scope.addHook('onSend', async (_request, reply, payload) =>
    typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith('text/html')
      ? withViewport(payload)
      : payload
  )
  await scope.register(swaggerUi, {
    routePrefix: '/documentation',
    indexPrefix: basePath,
    staticCSP: POLICIES.documentation,
    // Without the bar on top, which styles itself inline: the policy forbids that.
    uiConfig: { layout: 'BaseLayout' },
    logo: BELL,
    theme: {
      title: 'Bellwire',
      favicon: [{ ...BELL, filename: 'bell.svg', rel: 'icon', sizes: 'any' }]
    }
  })
}

/** The library's page, made to fit a phone. */
const withViewport = (page: string): string =>
  page.replace(
    '<head>',
    '<head>\n      <meta name="viewport" content="width=device-width, initial-scale=1">'
  )
