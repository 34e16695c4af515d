// One process for these files: a process for each would take longer to start than most take to run.
import './bounded-cache.test.ts'
import './fair-queue.test.ts'
import './outside-request.test.ts'
