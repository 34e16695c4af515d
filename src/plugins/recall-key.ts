import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { type Channel, EVERYONE, topicChannel, userChannel } from '../log/channel.ts'
import { Key } from '../log/content.ts'
import { TopicName, UserName } from '../log/names.ts'
import type { Store } from '../log/store.ts'
import { answers, producerWith } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'

interface RecallKeyOptions {
  readonly store: Pick<Store, 'recallKey'>
}

const KeyQuery = z
  .object({
    user: UserName.optional(),
    topic: TopicName.optional(),
    everyone: z.literal('true', 'must be true').optional(),
    key: Key
  })
  .transform(({ user, topic, everyone, key }, context) => {
    const channels: Channel[] = []
    if (user !== undefined) channels.push(userChannel(user))
    if (topic !== undefined) channels.push(topicChannel(topic))
    if (everyone !== undefined) channels.push(EVERYONE)
    const [channel, ...others] = channels
    if (channel !== undefined && others.length === 0) return { channel, key }
    context.addIssue({
      code: 'custom',
      path: ['user'],
      message: 'must be given alone, or topic, or everyone=true: exactly one of the three'
    })
    return z.NEVER
  })

/** `DELETE /v1/notifications?user=…&key=…`: recalls what a collapse key stands for in one channel. */
export default fp<RecallKeyOptions>(
  async (instance, { store }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    app.delete(
      '/v1/notifications',
      {
        onRequest: app.requireProducer('publish'),
        schema: {
          tags: ['publish'],
          security: producerWith('publish'),
          operationId: 'recallByKey',
          summary: 'Recall the notification with a collapse key from one channel',
          description:
            'Exactly one of `user`, `topic` and `everyone`. Other recipients of the same notification keep it.',
          querystring: KeyQuery,
          response: answers({ 204: z.null().describe('Recalled') })
        }
      },
      async ({ query: { channel, key } }, reply) => {
        if (!(await store.recallKey(channel, key)))
          throw new ProblemError(
            'not-found',
            'No notification with this key is in this channel: it never was, expired, was recalled or is gone.'
          )
        return reply.code(204).send()
      }
    )
  },
  { name: 'recall-key', dependencies: ['auth'] }
)
