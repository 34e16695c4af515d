// One process for these files: a process for each would take longer to start than most take to run.
import './identity.test.ts'
import './jwt.test.ts'
import './keyring.test.ts'
import './remembered.test.ts'
import './session-lookup.test.ts'
