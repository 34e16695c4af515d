import { test } from 'tap'
import { deployUnderLoad } from '../soak/deploy.ts'
import { skipNginx } from '../soak/fleet.ts'
import { skipOwnServer } from '../stores/redis-server.ts'

// `npm run soak` runs the long form: 3,000 streams that reconnect as slowly as browsers do.
test(
  'rolling restart, a killed node and a killed Redis lose and repeat nothing',
  {
    skip: skipOwnServer || skipNginx,
    timeout: 280_000
  },
  (t) =>
    deployUnderLoad(t, {
      streams: 60,
      publishesPerSecond: 50,
      drainMs: 500,
      haste: 10,
      calmMs: 700,
      redisAwayMs: 500,
      shards: 3
    })
)
