/**
 * The stores as they are shipped. From source, the thread that writes would have to be taught TypeScript at each opening, which takes ten
 * times as long as the opening itself.
 */
export const { openStore, StoreOpenError } = (await import(
  new URL('../../dist/stores/open-store.js', import.meta.url).href
)) as typeof import('../../src/stores/open-store.ts')
