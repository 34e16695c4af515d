// One process for these files: a process for each would take longer to start than most take to run.
import './config.test.ts'
import './env-file.test.ts'
import './keys.test.ts'
import './read-settings.test.ts'
import './settings.test.ts'
import './values.test.ts'
