import { readdirSync, readFileSync } from 'node:fs'
import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { POLICIES } from './transports/policies.ts'
import { type ServedFile, serveFiles } from './transports/serve-files.ts'

declare module 'fastify' {
  interface FastifyReply {
    /**
     * Sends the dashboard in place of the JSON of `/monitor`. The page contains no figures: its
     * script requests them with the same key.
     */
    sendDashboard(): FastifyReply
  }
}

const own = (file: string): URL => new URL(`../dashboard/${file}`, import.meta.url)
const ofUPlot = (file: string): URL => new URL(file, import.meta.resolve('uplot'))
const asset = (name: string, source: URL): ServedFile => ({
  path: `/monitor/assets/${name}`,
  source
})

const ASSETS = [
  ...readdirSync(own('.'))
    .filter((name) => /\.(?:js|css)$/.test(name))
    .map((name) => asset(name, own(name))),
  ...['uPlot.esm.js', 'uPlot.min.css'].map((name) => asset(name, ofUPlot(name)))
]

const PAGE = readFileSync(own('index.html'))
const PAGE_HEADERS = {
  'content-security-policy': POLICIES.dashboard,
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache'
} as const

/**
 * Serves the scripts and styles of the dashboard, which are public because they contain no secret.
 * Decorates the reply with `sendDashboard`.
 */
export default fp(
  async (app) => {
    serveFiles(app, ASSETS, 'api')
    app.decorateReply('sendDashboard', function (this: FastifyReply) {
      return this.headers(PAGE_HEADERS).type('text/html; charset=utf-8').send(PAGE)
    })
  },
  { name: 'dashboard' }
)
