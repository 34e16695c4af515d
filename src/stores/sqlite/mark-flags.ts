/**
 * Bits of `mark.flags`. Every row has SEEN, because the other two imply it: having a row means
 * having been seen.
 */
export const SEEN = 1
export const READ = 2
export const ARCHIVED = 4
