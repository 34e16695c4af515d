import type { FastifyReply } from 'fastify'

/** Sends JSON that is already serialized. */
export const sendJson = (reply: FastifyReply, json: string): FastifyReply =>
  reply.header('content-type', 'application/json; charset=utf-8').send(json)
