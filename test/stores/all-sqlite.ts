// One process for these files: a process for each would take longer to start than most take to run.
import './sqlite-files.test.ts'
import './sqlite-power-cut.test.ts'
import './sqlite-restore-detector.test.ts'
import './sqlite-retention.test.ts'
import './sqlite-seq-leap.test.ts'
import './sqlite-seqs.test.ts'
import './sqlite-store.test.ts'
import './sqlite-writer.test.ts'
