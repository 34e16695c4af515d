// One process for these files: a process for each would take longer to start than most take to run.
import './app.test.ts'
import './compose-scale.test.ts'
import './failure-modes.test.ts'
import './grouped.test.ts'
import './log/iso.test.ts'
import './pages.test.ts'
import './readme.test.ts'
