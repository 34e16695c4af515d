import { signDevToken } from '../auth/jwt.ts'
import { TopicGrant, USER_RULE, UserName } from '../log/names.ts'
import { CommandError } from './command-error.ts'
import type { Invocation } from './command-line.ts'
import { readSettings } from './settings.ts'

/** How long a token from the command line lasts, in seconds. */
const LIFETIME_SECONDS = 3600

/**
 * `bellwire token <user>`: prints a subscriber JWT, signed with the first secret of this service.
 */
export function token(invocation: Invocation): void {
  const { auth } = readSettings(invocation).config
  const [secret] = auth.jwtSecrets
  if (!secret)
    throw new CommandError(
      'token needs AUTH_JWT_SECRET; with AUTH_JWKS_URL or a session look-up, get a token from your identity provider'
    )
  const user = UserName.safeParse(invocation.argument)
  if (!user.success)
    throw new CommandError(`token <user> [--topics a,b]: the user's name ${USER_RULE}`)
  const topics = invocation.topics ? invocation.topics.split(',') : []
  for (const topic of topics)
    if (!TopicGrant.safeParse(topic).success)
      throw new CommandError(
        `--topics: ${JSON.stringify(topic)} is neither a topic name nor a prefix that ends in *`
      )
  process.stdout.write(`${signDevToken(user.data, topics, secret, LIFETIME_SECONDS, auth)}\n`)
}
