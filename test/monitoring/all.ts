// One process for these files: a process for each would take longer to start than most take to run.
import './alerts.test.ts'
import './delivery-report.test.ts'
import './figures.test.ts'
import './health-rules.test.ts'
import './lifetimes.test.ts'
import './minute-lines.test.ts'
import './stats.test.ts'
