import type { Browser, BrowserContext, Page } from 'playwright-core'
import type { Inbox, InboxOptions } from '../../src/client/index.ts'
import { launchChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { type Service, tokenOf } from '../service/harness.ts'

type Teardown = { teardown(fn: () => unknown): void }

declare global {
  interface Window {
    Bellwire: typeof import('../../src/client/index.ts')
    inbox: Inbox
    /** Titles of the notifications reported to the page, in order. */
    heard: string[]
    statuses: string[]
    getToken(): Promise<string>
    stole(): Promise<void>
  }
}

/**
 * A browser that lets test pages reach the service. A page without an address makes the browser ask
 * for permission, because the service's address looks like a local network.
 */
export const launch = (t: Teardown): Promise<Browser> =>
  launchChromium(t, [
    '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets'
  ])

export interface Tabs {
  readonly context: BrowserContext
  /** Opens a tab with an inbox; resolves when it is live or polling. */
  open(options?: Omit<InboxOptions, 'token' | 'ticket'>): Promise<Page>
  /**
   * The tab that holds the lock, as another responsive tab sees it; undefined while the lock
   * changes hands.
   */
  leader(witness: Page): Promise<Page | undefined>
  /** How many streams were requested. */
  asked(): number
  /**
   * How often a tab took over from a leader it thought dead; on a busy machine that leader may only
   * be slow.
   */
  thefts(): number
}

/** A browser of one user, with pages of the service's own origin unless another is named. */
export async function tabsOf(
  t: Teardown,
  browser: Browser,
  service: Pick<Service, 'url'>,
  token: (() => string) | null = () => tokenOf('u1', ['news']),
  origin = service.url
): Promise<Tabs> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = `${origin}/page`
  await context.route(page, (route) =>
    route.fulfill({
      contentType: 'text/html',
      body: `<!doctype html><title>page</title><script src="${service.url}/client.js"></script>`
    })
  )
  if (token) await context.exposeFunction('getToken', token)
  let thefts = 0
  await context.exposeFunction('stole', () => {
    thefts++
  })
  await context.addInitScript(() => {
    if (!globalThis.LockManager) return
    const request = LockManager.prototype.request as (...args: unknown[]) => Promise<unknown>
    LockManager.prototype.request = function (this: LockManager, ...args: unknown[]) {
      if ((args[1] as LockOptions).steal) void window.stole()
      return request.apply(this, args)
    }
  })
  const pages = new Map<string, Page>()
  let asked = 0
  context.on('request', (request) => {
    if (request.url().includes('/v1/stream')) asked++
  })
  return {
    context,
    async leader(witness) {
      const { held } = await witness.evaluate(() => navigator.locks.query())
      const holder = held?.find(({ name }) => name?.startsWith('bellwire '))
      return pages.get(holder?.clientId ?? '')
    },
    asked: () => asked,
    thefts: () => thefts,
    async open(options = {}) {
      const tab = await context.newPage()
      // Runs in each document of the tab, so a reload opens the inbox again.
      await tab.addInitScript(
        ({ options, token }) => {
          addEventListener('DOMContentLoaded', () => {
            window.heard = []
            window.statuses = []
            window.inbox = window.Bellwire.createInbox({
              ...options,
              ...(token && { token: () => window.getToken() })
            })
            window.inbox.on('notification', ({ item }) => window.heard.push(item.title ?? ''))
            window.inbox.on('status', (status) => window.statuses.push(status))
          })
        },
        { options: { url: service.url, ...options }, token: token !== null }
      )
      await tab.goto(page)
      await tab.waitForFunction(() => ['live', 'polling'].includes(window.inbox.status))
      const clientId = await tab.evaluate(() =>
        navigator.locks
          ?.request(String(Math.random()), async (mine) => {
            const { held } = await navigator.locks.query()
            return held?.find(({ name }) => name === mine?.name)?.clientId
          })
          // If locks are denied, every tab leads.
          .catch(() => undefined)
      )
      if (clientId) pages.set(clientId, tab)
      return tab
    }
  }
}

export const heard = (tab: Page): Promise<string[]> => tab.evaluate(() => window.heard)
export const titles = (tab: Page): Promise<(string | undefined)[]> =>
  tab.evaluate(() => window.inbox.items.map(({ title }) => title))
export const counts = (tab: Page): Promise<Inbox['counts']> =>
  tab.evaluate(() => window.inbox.counts)

/** Waits until a tab has received `n` notifications. */
export const untilHeard = (tab: Page, n: number): Promise<void> =>
  eventually(async () => (await heard(tab)).length >= n)
