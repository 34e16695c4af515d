import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'

/** Nothing inline, nothing from elsewhere, no text ever parsed as markup: the page shows what callers have sent. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const own = (file: string): URL => new URL(`../dashboard/${file}`, import.meta.url)
const ofUPlot = (file: string): URL => new URL(file, import.meta.resolve('uplot'))

const SCRIPT = 'text/javascript; charset=utf-8'
const STYLE = 'text/css; charset=utf-8'
const ASSETS = [
  ...[
    'dashboard.js',
    'feed.js',
    'overview.js',
    'charts.js',
    'connections.js',
    'format.js',
    'dom.js'
  ].map((name) => ({
    name,
    source: own(name),
    type: SCRIPT
  })),
  { name: 'dashboard.css', source: own('dashboard.css'), type: STYLE },
  { name: 'uPlot.esm.js', source: ofUPlot('uPlot.esm.js'), type: SCRIPT },
  { name: 'uPlot.min.css', source: ofUPlot('uPlot.min.css'), type: STYLE }
]

/** Weight (0–1) that an Accept header gives a media type: the most specific range that fits decides (RFC 9110 §12.5.1). */
function weightOf(accept: string, type: string): number {
  const specificity = [type, `${type.split('/')[0]}/*`, '*/*']
  let best = specificity.length
  let weight = 0
  for (const entry of accept.split(',')) {
    const [range = '', ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    const rank = specificity.indexOf(range)
    if (rank < 0 || rank >= best) continue
    const q = parameters.find((parameter) => parameter.startsWith('q='))
    best = rank
    weight = q === undefined ? 1 : Number(q.slice(2)) || 0
  }
  return weight
}

/** Whether the caller would rather have a page than JSON; programs, which accept anything, would not. */
export const prefersPage = (accept: string | undefined): boolean =>
  accept !== undefined && weightOf(accept, 'text/html') > weightOf(accept, 'application/json')

const PAGE = readFileSync(own('index.html'))

/** The dashboard in place of the JSON. It holds no figures; its script asks for them with the same key. */
export const sendPage = (reply: FastifyReply): FastifyReply =>
  reply
    .header('content-security-policy', POLICY)
    .header('cross-origin-resource-policy', 'same-origin')
    .header('x-frame-options', 'DENY')
    .header('cache-control', 'no-cache')
    .type('text/html; charset=utf-8')
    .send(PAGE)

/** What the page is made of: the same for everyone and without secrets, so it needs no key. */
export default fp(
  async (app) => {
    for (const { name, source, type } of ASSETS) {
      const content = readFileSync(source)
      const tag = `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`
      app.get(`/monitor/assets/${name}`, { schema: { hide: true } }, async (request, reply) => {
        reply.header('cache-control', 'no-cache').header('etag', tag).type(type)
        return request.headers['if-none-match'] === tag
          ? reply.code(304).send()
          : reply.send(content)
      })
    }
  },
  { name: 'dashboard' }
)
