// One process for these files: a process for each would take longer to start than most take to run.
import './event-stream.test.ts'
import './in-between.test.ts'
import './page.test.ts'
import './service.test.ts'
