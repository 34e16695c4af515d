-- What every script begins with: it is put in front of each of them.
--
-- KEYS[1]  <base>state   hash: epoch, seq, sub (place of the newest entry of the log), run (run_id of the server that wrote it),
--                        fences ("tail seq;…"), floor (oldest place that can be resumed), removals (a counter), shards
-- KEYS[2]  <base>log     stream of everything that is followed; see emit()
-- Everything else is named after the same base, so that it lies in the same slot of a cluster:
--   n:<id>               hash, a notification: to, content, createdAt, expiresAt, key, producer, shared, places, c:<channel> = place
--   e:<channel>          sorted set of the places of its live entries
--   l:<channel>          hash, place → "id times replaces replaced", the last two the id and the place of what it took the place of
--   t:<channel>          sorted set of its state events, "seq at since op upTo ids" by seq; it concerns who comes from `since` or later
--   i:<channel>          hash: floor (places up to here are incomplete), r (number of the last removal), d (a place behind the
--                        last entries that went without an event)
--   k:<channel>          hash, collapse key → place
--   x:<channel>          sorted set, place by the moment it expires; x: the channels by their soonest moment
--   a:                   sorted set, channels by the moment of their oldest entry or state
--   m:<user> <channel>   hash, a user's marks: place → "readAt archived", and their sum, see marks_of()
--   u:<user>             set of the channels in which the user has marks
--   r:<channel>          hash, readers of shared entries: <place>s seen, <place>r read, <place>a archived
--   y:<key>              string "fingerprint id createdAt", an idempotency key
--   o:<token>            string, what a call has answered, for its repetition after a broken connection
--   h:<hash>             hash, a ticket: user, topics, expiresAt; v:<user> set of a user's tickets
--   z:                   hash, user → moment of the last revocation
--
-- ARGV[1] epoch that the caller knows; ARGV[2] entries that a channel keeps, 0 all; ARGV[3] milliseconds that marks are kept, 0 for
-- ever; ARGV[4] command that wakes the nodes, PUBLISH or SPUBLISH; ARGV[5] its channel. The script's own begin at ARGV[6].
-- Scripts that append answer first with the place "seq-sub" up to which the log must be followed to have heard of it.
local S, LOG = KEYS[1], KEYS[2]
local P = string.sub(S, 1, -6)
local KEEP = tonumber(ARGV[2])
-- Entries that nodes can be behind, before they have to begin anew.
local LOG_LENGTH = 100000
-- More than a server can have appended that a replica never got: places are not used twice after a fail-over.
local JUMP = 1000000000
local MAX_FENCES = 32
-- Entries that one call changes or removes, where it can go on in another: some milliseconds, in which nobody else is served.
local SLICE = 1000

local call = redis.call
local function str(n) return string.format('%.0f', n) end
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local state = call('HMGET', S, 'epoch', 'seq', 'sub', 'run', 'removals')
local seq, sub, removals = tonumber(state[2] or 0), tonumber(state[3] or 0), tonumber(state[5] or 0)
local removals_before = removals
local appended = false
local fenced = false

-- Names this life of the server. INFO is what users with few rights lack, and Redis does not say which command it was.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) == 'table' then error('NOPERM INFO is needed (+info): ' .. info.err) end
  return string.match(info, 'run_id:(%w+)')
end

-- Begins to write; called before the first write of every script that appends, since what it needs may
-- be refused and Redis takes back nothing that a script has written.
-- What another server has appended may be longer than what has come to this one: leave room for it that is never used.
local function fence()
  if fenced then return end
  local me = run_id()
  fenced = true
  if me == state[4] then return end
  -- A Redis without room refuses the first write of a script if it may take room, and none behind it: after
  -- its restart what makes room must not be refused for want of a fence.
  call('DEL', P .. '-')
  -- Places follow the clock, so that a life that was undone by putting back an earlier state has none in common with this one; if the
  -- clock is behind, the random name of the server's life tells them apart.
  local tail, now, spread = seq, clock[1] * 1000000 + clock[2], tonumber(string.sub(me, 1, 7), 16)
  seq = now > tail and now + spread % 1000000 or tail + JUMP + 4 * spread
  sub, appended = 0, true
  local fences = (call('HGET', S, 'fences') or '') .. str(tail) .. ' ' .. str(seq) .. ';'
  local _, n = string.gsub(fences, ';', '')
  if n > MAX_FENCES then
    local top
    top, fences = string.match(fences, '^%d+ (%d+);(.*)$')
    call('HSET', S, 'floor', str(math.max(tonumber(top), tonumber(call('HGET', S, 'floor') or 0))))
  end
  call('HSET', S, 'run', me, 'fences', fences)
  call('XADD', LOG, str(seq) .. '-0', 'k', 'f', 'c', '', 'h', str(tail), 'b', '')
end

local function personal(channel) return string.sub(channel, 1, 5) == 'user:' end

-- An entry of the log. With a place of its own: n notification ("id createdAt expiresAt times replaces", content), s state ("op upTo",
-- ids), d dropped, p the place behind an event of a shared channel, which is no event's, f fence (the tail before it). Between
-- places: e ephemeral ("id createdAt expiresAt", content), r revoked.
local function emit(kind, channel, head, body)
  fence()
  if kind == 'e' or kind == 'r' then sub = sub + 1 else seq, sub = seq + 1, 0 end
  appended = true
  local place = str(seq)
  call('XADD', LOG, place .. '-' .. sub, 'k', kind, 'c', channel, 'h', head, 'b', body)
  if kind == 'd' then call('HSET', P .. 'i:' .. channel, 'd', place)
  elseif (kind == 'n' or kind == 's') and not personal(channel) then emit('p', channel, '', '') end
  return place
end

-- Wakes the nodes. What was written stays written, so a wake-up that Redis refuses must not fail the
-- call: it only delays, since every node reads on by itself. Each node reports the missing right.
local function wake(place) redis.pcall(ARGV[4], ARGV[5], place) end

local function finish()
  local place = str(seq) .. '-' .. sub
  if removals ~= removals_before then call('HSET', S, 'removals', str(removals)) end
  if appended then
    call('HSET', S, 'seq', str(seq), 'sub', sub)
    call('XTRIM', LOG, 'MAXLEN', '~', LOG_LENGTH)
    wake(place)
  end
  return place
end

-- Calls fn with at most 500 of the list's members at a time.
local function chunks(list, fn)
  for i = 1, #list, 500 do
    local part = {}
    for k = i, math.min(i + 499, #list) do part[#part + 1] = list[k] end
    fn(part)
  end
end

local function is_done(mark) return string.sub(mark, 1, 2) ~= '- ' or string.sub(mark, -1) == '1' end

