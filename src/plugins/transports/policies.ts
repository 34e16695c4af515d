/**
 * The policy of a page: no inline scripts or styles, no other origins; `images` lists image
 * sources.
 */
const page = (images: string): string =>
  `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src ${images}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** For pages that show text from callers: the browser never parses text as markup. */
const TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types 'none'"

/** The `Content-Security-Policy` of every kind of response. */
export const POLICIES = {
  /** The API answers JSON, so its responses load nothing. */
  api: "default-src 'none';frame-ancestors 'none'",
  documentation: page("'self' data:"),
  dashboard: page("'self' data:") + TRUSTED_TYPES,
  demo: page('data:') + TRUSTED_TYPES
} as const
