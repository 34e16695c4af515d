// One process for these files: a process for each would take longer to start than most take to run.
import './connection.test.ts'
import './counts.test.ts'
import './heartbeat-manager.test.ts'
import './hub.test.ts'
