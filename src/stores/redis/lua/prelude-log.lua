-- What every script begins with, in three parts: this one appends to the log,
-- `prelude-channels.lua` removes entries from channels, `prelude-marks.lua` counts what a user has
-- read.
--
-- KEYS[1]  <base>state   hash: epoch, seq and sub (id of the newest entry of the stream), run
--                        (run_id of the server that wrote it), fences ("tail top;…": no event has a
--                        seq between the two), floor (lowest seq that can be resumed at), removals
--                        (a counter), shards
-- KEYS[2]  <base>log     stream of everything that is followed; see emit()
-- All other keys start with the same base, so that they are in the same slot of a Cluster:
--   n:<id>               hash, a notification: to, content, createdAt, expiresAt, key, producer,
--                        places (number of its entries), shared (its shared channel),
--                        c:<channel> = seq
--   e:<channel>          sorted set of the seqs of its live entries
--   l:<channel>          hash, seq → "id times replaces replaced"; the last two are the id and the
--                        seq of the entry that it replaced
--   t:<channel>          sorted set of its state events by seq, "seq at since op upTo ids"; an
--                        event concerns cursors from `since` on
--   i:<channel>          hash: floor (events up to this seq are incomplete), r (number of the last
--                        removal), d (the seq after the last entries that left without an event)
--   k:<channel>          hash, collapse key → seq
--   x:<channel>          sorted set, seq by expiry; x: the channels by their next expiry
--   a:                   sorted set, the channels by the time of their oldest entry or state event
--   m:<user> <channel>   hash, a user's marks: seq → "readAt archived", and their summary, see
--                        marks_of()
--   u:<user>             set of the channels in which the user has marks
--   r:<channel>          hash, readers of shared entries: <seq>s seen, <seq>r read, <seq>a archived
--   y:<key>              string "fingerprint id createdAt", an idempotency key
--   o:<token>            string, the reply to a call, which may be repeated after its connection
--                        broke
--   h:<hash>             hash, a ticket: user, topics, expiresAt; v:<user> set of a user's tickets
--   z:                   hash, user → time of the last revocation
--
-- ARGV[1] epoch that the caller knows; ARGV[2] entries that a channel keeps, 0: all; ARGV[3]
-- milliseconds that marks are kept, 0: for ever; ARGV[4] command that wakes the nodes, PUBLISH or
-- SPUBLISH; ARGV[5] its channel. The arguments of a script itself start at ARGV[6].
-- Times are milliseconds since 1970. Scripts that may append return first the id "seq-sub" of the
-- newest entry of the stream: whoever has followed up to it has followed their events.
local S, LOG = KEYS[1], KEYS[2]
local P = string.sub(S, 1, -6)
local KEEP = tonumber(ARGV[2])
-- Entries of the stream: a node that is further behind continues at the head.
local LOG_LENGTH = 100000
-- More events than a master can have appended that its replica never received, so that no seq is
-- used twice after a fail-over.
local JUMP = 1000000000
local MAX_FENCES = 32
-- Entries that one call changes or removes before it lets another call continue: Redis serves
-- nobody else for those milliseconds.
local SLICE = 1000

local call = redis.call
local function str(n) return string.format('%.0f', n) end
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local state = call('HMGET', S, 'epoch', 'seq', 'sub', 'run', 'removals')
-- `head` is the seq of the newest event; `sub` counts the entries since then that have no seq.
local head, sub = tonumber(state[2] or 0), tonumber(state[3] or 0)
local removals = tonumber(state[5] or 0)
local removals_before = removals
local appended = false
local fenced = false

-- Names the server process. INFO is the command that users with few rights lack, and Redis does not
-- say which one it refused.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) == 'table' then error('NOPERM INFO is needed (+info): ' .. info.err) end
  return string.match(info, 'run_id:(%w+)')
end

-- Prepares to write. Every script that appends calls this before its first write, because it may
-- fail and Redis undoes nothing that a script has written. Another server may have appended more
-- than this one has received: the log skips seqs for that, and never uses them.
local function fence()
  if fenced then return end
  local me = run_id()
  fenced = true
  if me == state[4] then return end
  -- A full Redis refuses only the first write of a script that may need memory. After its restart,
  -- scripts that free memory must not be refused because they have to write a fence.
  call('DEL', P .. '-')
  -- Seqs follow the clock, so that a log restored from an earlier state shares none with the state
  -- that was lost. If the clock is behind, the random id of the server process keeps them apart.
  local tail, now = head, clock[1] * 1000000 + clock[2]
  local spread = tonumber(string.sub(me, 1, 7), 16)
  head = now > tail and now + spread % 1000000 or tail + JUMP + 4 * spread
  sub, appended = 0, true
  local fences = (call('HGET', S, 'fences') or '') .. str(tail) .. ' ' .. str(head) .. ';'
  local _, n = string.gsub(fences, ';', '')
  if n > MAX_FENCES then
    local top
    top, fences = string.match(fences, '^%d+ (%d+);(.*)$')
    local floor = tonumber(call('HGET', S, 'floor') or 0)
    call('HSET', S, 'floor', str(math.max(tonumber(top), floor)))
  end
  call('HSET', S, 'run', me, 'fences', fences)
  call('XADD', LOG, str(head) .. '-0', 'k', 'f', 'c', '', 'h', str(tail), 'b', '')
end

-- Whether a seq is between the ends of a fence: no event of this log has it.
local function is_fenced(seq)
  for tail, top in string.gmatch(call('HGET', S, 'fences') or '', '(%d+) (%d+);') do
    if seq > tonumber(tail) and seq < tonumber(top) then return true end
  end
  return false
end

local function personal(channel) return string.sub(channel, 1, 5) == 'user:' end

-- Appends an entry to the stream and returns its seq. Kinds with a seq of their own:
--   n notification ("id createdAt expiresAt times replaces", content)     s state ("op upTo", ids)
--   d dropped      p the seq after an event of a shared channel, which no event has   f fence (tail)
-- Kinds between two seqs: e ephemeral ("id createdAt expiresAt", content)      r revoked
local function emit(kind, channel, about, body)
  fence()
  if kind == 'e' or kind == 'r' then sub = sub + 1 else head, sub = head + 1, 0 end
  appended = true
  local seq = str(head)
  call('XADD', LOG, seq .. '-' .. sub, 'k', kind, 'c', channel, 'h', about, 'b', body)
  if kind == 'd' then call('HSET', P .. 'i:' .. channel, 'd', seq)
  elseif (kind == 'n' or kind == 's') and not personal(channel) then
    emit('p', channel, '', '')
  end
  return seq
end

-- Wakes the nodes. What was written stays written, so a wake-up that Redis refuses must not fail
-- the call: it only delays, because every node reads on by itself. Each node reports the missing
-- permission.
local function wake(id) redis.pcall(ARGV[4], ARGV[5], id) end

-- Completes a script that may have appended. Returns the id of the newest entry of the stream.
local function finish()
  local id = str(head) .. '-' .. sub
  if removals ~= removals_before then call('HSET', S, 'removals', str(removals)) end
  if appended then
    call('HSET', S, 'seq', str(head), 'sub', sub)
    call('XTRIM', LOG, 'MAXLEN', '~', LOG_LENGTH)
    wake(id)
  end
  return id
end

-- Calls fn with at most 500 items of the list at a time.
local function chunks(list, fn)
  for i = 1, #list, 500 do
    local part = {}
    for k = i, math.min(i + 499, #list) do part[#part + 1] = list[k] end
    fn(part)
  end
end
