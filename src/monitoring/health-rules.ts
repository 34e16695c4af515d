import { CONNECTION_RULES } from './health-rules/connections.ts'
import { PROCESS_RULES } from './health-rules/process.ts'
import { PRODUCER_RULES } from './health-rules/producers.ts'
import type { Rule } from './health-rules/rule.ts'
import { SIGN_IN_RULES } from './health-rules/sign-in.ts'
import { STORE_RULES } from './health-rules/store.ts'

/** All health rules. Of equal severity, an earlier rule is shown first. */
export const RULES: readonly Rule[] = [
  ...STORE_RULES,
  ...SIGN_IN_RULES,
  ...PRODUCER_RULES,
  ...CONNECTION_RULES,
  ...PROCESS_RULES
]
