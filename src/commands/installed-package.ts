import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

/** Folder of package.json: that of a clone, or of the installed package. */
export const PACKAGE_FOLDER = fileURLToPath(new URL('../..', import.meta.url))

/** Version of this package, as package.json says. */
export const { version: VERSION } = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(path.join(PACKAGE_FOLDER, 'package.json'), 'utf8')))
