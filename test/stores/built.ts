const built = (file: string): Promise<unknown> =>
  import(new URL(`../../dist/stores/${file}.js`, import.meta.url).href)

/**
 * The compiled stores. From source, each opening would start a TypeScript loader in the writer
 * thread, which takes ten times as long as the opening itself.
 */
export const { openStore } = (await built(
  'open-store'
)) as typeof import('../../src/stores/open-store.ts')
export const { StoreOpenError } = (await built(
  'store-open-error'
)) as typeof import('../../src/stores/store-open-error.ts')
