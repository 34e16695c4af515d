/**
 * `npm run bench`: what opening, holding, publishing and delivering costs, beside a naive Fastify
 * fan-out in the same run. The servers take turns, since a machine's speed drifts; compare the
 * ratio, not the figures of two runs. Loopback only; a minute and a half for each round.
 *
 *   npm run bench -- --rounds 1 --readers 2000    a quick look
 *   npm run bench -- --peer nchan                 compares with nchan as well; see peers.ts
 *   npm run bench -- --rounds 1 --keep FILE       adds a round to those in FILE, and reports all
 *   npm run bench -- --write                      puts the table into README.md
 */
import { parseArgs } from 'node:util'
import { Figures } from './figures.ts'
import { leaveCpuToServer, openFiles, PINS, whenAndWhere, writeBlock } from './machine.ts'
import { PEERS } from './peers.ts'
import { Load } from './readers.ts'
import { Session } from './session.ts'
import { bellwire, naive, start, type Target } from './targets.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: process.env['BENCH_ROUNDS'] ?? '3' },
    readers: { type: 'string', default: '10000' },
    peer: { type: 'string', multiple: true, default: [] },
    keep: { type: 'string' },
    write: { type: 'boolean', default: false }
  }
})
const rounds = Number(values.rounds)
const many = Math.min(Number(values.readers), openFiles() - 300)
const sizes = { many, few: Math.min(1000, many), batch: 50 }
const peers = values.peer.map((name): Target => {
  const peer = PEERS.find((one) => one.name === name)
  if (!peer) throw new Error(`no peer ${name}; there are ${PEERS.map((one) => one.name).join()}`)
  return peer
})
const figures = new Figures(sizes, values.keep)

// The publishers run in this process, the readers in another.
leaveCpuToServer()
for (let round = 1; round <= rounds; round++) {
  const targets = [naive, bellwire, ...peers]
  for (const target of round % 2 ? targets : targets.toReversed()) {
    process.stderr.write(`round ${round} of ${rounds}: ${target.name}\n`)
    const server = await start(target, PINS ? 0 : null)
    const load = new Load()
    try {
      await new Session(target, server, load, figures, sizes).run()
    } finally {
      load.stop()
      await server.stop()
    }
  }
  figures.keep()
}

const table = figures.table(values.peer)
const { judged, missed } = figures.verdict()
const conditions = `Medians of ${figures.rounds} rounds in turns, ${PINS ? 'server and clients on one CPU each' : 'not pinned'}, over loopback. Bellwire checks credentials, syncs to the disk and can resume; the naive server does none of these.`
console.log(`${table}\n\n${whenAndWhere()}. ${conditions}`)
console.log(
  `${missed.length} of ${judged} aims missed${missed.length > 0 ? `: ${missed.join(', ')}` : ''}.`
)
if (figures.faults.length === 0) console.log('Every frame that was expected arrived.')
for (const fault of figures.faults) console.log(`FAULT: ${fault}`)
if (figures.faults.length > 0) process.exitCode = 1
else if (values.write)
  writeBlock(
    'README.md',
    'npm run bench',
    `\n\`npm run bench\`, ${whenAndWhere()}:\n\n${table}\n\n${conditions}\n`
  )
