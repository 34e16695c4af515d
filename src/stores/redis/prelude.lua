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
-- ever; ARGV[4] command that rings the bell, PUBLISH or SPUBLISH; ARGV[5] its channel. The script's own begin at ARGV[6].
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
local function ring(place) redis.pcall(ARGV[4], ARGV[5], place) end

local function finish()
  local place = str(seq) .. '-' .. sub
  if removals ~= removals_before then call('HSET', S, 'removals', str(removals)) end
  if appended then
    call('HSET', S, 'seq', str(seq), 'sub', sub)
    call('XTRIM', LOG, 'MAXLEN', '~', LOG_LENGTH)
    ring(place)
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

-- Takes an entry out of its channel, and the notification away with its last one.
local function remove(channel, place)
  fence()
  if call('ZREM', P .. 'e:' .. channel, place) == 0 then return end
  local l = P .. 'l:' .. channel
  -- Redis may have evicted what belongs to it: that must not stop halfway.
  local id = string.match(call('HGET', l, place) or '', '^%S+') or ''
  call('HDEL', l, place)
  local note = P .. 'n:' .. id
  local about = call('HMGET', note, 'key', 'expiresAt')
  if about[1] then
    local k = P .. 'k:' .. channel
    if call('HGET', k, about[1]) == place then call('HDEL', k, about[1]) end
  end
  if about[2] then call('ZREM', P .. 'x:' .. channel, place) end
  if not personal(channel) then call('HDEL', P .. 'r:' .. channel, place .. 's', place .. 'r', place .. 'a') end
  removals = removals + 1
  call('HSET', P .. 'i:' .. channel, 'r', str(removals))
  call('HDEL', note, 'c:' .. channel)
  if call('HINCRBY', note, 'places', -1) <= 0 then call('DEL', note) end
end

local function raise_floor(channel, place)
  local i = P .. 'i:' .. channel
  if tonumber(place) > tonumber(call('HGET', i, 'floor') or 0) then call('HSET', i, 'floor', place) end
end

local function prune_states(channel)
  if KEEP == 0 then return end
  local t = P .. 't:' .. channel
  local n = call('ZCARD', t)
  if n <= math.floor(KEEP * 1.5) then return end
  local last = call('ZRANGE', t, n - KEEP - 1, n - KEEP - 1, 'WITHSCORES')
  raise_floor(channel, str(tonumber(last[2])))
  call('ZREMRANGEBYRANK', t, 0, n - KEEP - 1)
end

-- Takes an entry out before its time. If it had taken the place of another, who was away meanwhile may still show that one: what is
-- left of the entry in the log tells them that it is gone.
local function take_back(channel, place)
  local about = call('HGET', P .. 'l:' .. channel, place)
  if not about then return remove(channel, place) end
  local id, replaces, replaced = string.match(about, '^(%S+) %d+ (%S*) (%d*)$')
  if replaces ~= '' then
    local created = call('HGET', P .. 'n:' .. id, 'createdAt') or str(NOW)
    remove(channel, place)
    call('ZADD', P .. 't:' .. channel, place, place .. ' ' .. created .. ' ' .. replaced .. ' removed - ' .. replaces)
    call('ZADD', P .. 'a:', 'LT', created, channel)
    prune_states(channel)
  else remove(channel, place) end
end

-- Notes when the next entry of a channel expires.
local function note_soonest(channel)
  local soonest = call('ZRANGE', P .. 'x:' .. channel, 0, 0, 'WITHSCORES')
  if soonest[2] then call('ZADD', P .. 'x:', soonest[2], channel) else call('ZREM', P .. 'x:', channel) end
end

-- Takes out what has expired, so that nobody reads or counts it.
local function sweep(channel)
  local due = call('ZRANGEBYSCORE', P .. 'x:' .. channel, '-inf', str(NOW))
  if #due == 0 then return end
  for _, place in ipairs(due) do take_back(channel, place) end
  -- Also those whose entries Redis has evicted.
  call('ZREMRANGEBYSCORE', P .. 'x:' .. channel, '-inf', str(NOW))
  emit('d', channel, '', '')
  note_soonest(channel)
end

-- Takes out the oldest where there are half as many again as are kept. Where many channels are full at once, as those of a thousand
-- recipients may be, the others wait for a later call, up to twice what is kept.
local function prune(channel)
  if KEEP == 0 then return end
  local most = math.floor(KEEP * 1.5)
  local e = P .. 'e:' .. channel
  local n = call('ZCARD', e)
  if n <= most or (removals - removals_before > 2 * SLICE and n < 2 * KEEP) then return end
  local old = call('ZRANGE', e, 0, n - KEEP - 1)
  for _, place in ipairs(old) do remove(channel, place) end
  raise_floor(channel, old[#old])
  emit('d', channel, '', '')
end

local function append_state(channel, op, upto, ids)
  local place = emit('s', channel, op .. ' ' .. upto, ids)
  call('ZADD', P .. 't:' .. channel, place, place .. ' ' .. str(NOW) .. ' 0 ' .. op .. ' ' .. upto .. ' ' .. ids)
  call('ZADD', P .. 'a:', 'LT', str(NOW), channel)
  prune_states(channel)
  return place
end

-- Of each level, what a mark must say for it to hold.
local LEVELS = {
  d = function(mark) return mark and is_done(mark) end,
  r = function(mark) return mark and string.sub(mark, 1, 2) ~= '- ' end,
  s = function(mark) return mark end,
  a = function(mark) return mark and string.sub(mark, -1) == '1' end
}

-- Lifts the levels of a sum as far as they hold.
local function raise(channel, m, sum)
  for level, holds in pairs(LEVELS) do
    local size, n, part = 8, 0, nil
    repeat
      part = call('ZRANGEBYSCORE', P .. 'e:' .. channel, '(' .. sum[level], '+inf', 'LIMIT', 0, size)
      local marks = #part > 0 and call('HMGET', m, unpack(part)) or {}
      n = 0
      while n < #part and holds(marks[n + 1]) do n = n + 1 end
      if n > 0 then sum[level] = part[n] end
      if level == 'd' then sum.done = sum.done - n elseif level == 's' then sum.seen = sum.seen - n end
      size = 256
    until n < #part or n == 0
  end
end

local function sum_fields(sum, r)
  return '@', '-', '!', r, '#', sum.done, '~', sum.seen, 'z', sum.z, 'd', sum.d, 'r', sum.r, 's', sum.s, 'a', sum.a
end

-- A user's marks in a channel: their key and their sum, nil without marks. The sum tells how far the user has got: all live entries
-- up to d are read or archived, up to r read, up to s seen, up to a archived. Whoever counts or lists looks at what lies
-- above. An entry that goes makes none of it false, and a new one lies above. # and ~ are how many marks there are above d and
-- s, counted when the number of the last removal was !; z is how many are archived, those of entries that have gone included.
-- In @ the version before kept such a number, with all that are read or archived in #; '-' makes it count for itself.
local sums = {}
local function marks_of(user, channel)
  local m = P .. 'm:' .. user .. ' ' .. channel
  if sums[m] then return m, sums[m] end
  local f = call('HMGET', m, '!', '#', '~', 'z', 'd', 'r', 's', 'a', '@')
  if not f[1] and not f[9] then return m, nil end
  local r = call('HGET', P .. 'i:' .. channel, 'r') or '0'
  local e = P .. 'e:' .. channel
  local sum
  if f[1] then
    sum = { done = tonumber(f[2]), seen = tonumber(f[3]), z = tonumber(f[4]), d = f[5], r = f[6], s = f[7], a = f[8] }
    sums[m] = sum
    -- What has not been counted cannot have gone.
    if f[1] == r or (sum.done == 0 and sum.seen == 0) then return m, sum end
    sum.done, sum.seen = 0, 0
    chunks(call('ZRANGEBYSCORE', e, '(' .. sum.d, '+inf'), function(part)
      for k, mark in ipairs(call('HMGET', m, unpack(part))) do
        if mark then
          if is_done(mark) then sum.done = sum.done + 1 end
          if tonumber(part[k]) > tonumber(sum.s) then sum.seen = sum.seen + 1 end
        end
      end
    end)
  else
    sum = { done = 0, seen = 0, z = 0, d = '0', r = '0', s = '0', a = '0' }
    sums[m] = sum
    local all, places, marks = call('HGETALL', m), {}, {}
    for k = 1, #all, 2 do
      if string.find(all[k], '^%d') then
        places[#places + 1] = all[k]
        marks[all[k]] = all[k + 1]
      end
    end
    chunks(places, function(part)
      for k, live in ipairs(call('ZMSCORE', e, unpack(part))) do
        local mark = marks[part[k]]
        if live then
          sum.seen = sum.seen + 1
          if is_done(mark) then sum.done = sum.done + 1 end
          if LEVELS.a(mark) then sum.z = sum.z + 1 end
        end
      end
    end)
  end
  raise(channel, m, sum)
  -- Only a shorter way for the next one: a Redis without room for it is no reason to refuse a reader.
  redis.pcall('HSET', m, sum_fields(sum, r))
  return m, sum
end

-- Unread and unseen over channels, exactly; the channels have been swept.
local function count(user, channels)
  local unread, unseen = 0, 0
  for _, channel in ipairs(channels) do
    local e = P .. 'e:' .. channel
    local live = call('ZCARD', e)
    if live > 0 then
      local _, sum = marks_of(user, channel)
      if sum then
        unread = unread + call('ZCOUNT', e, '(' .. sum.d, '+inf') - sum.done
        unseen = unseen + call('ZCOUNT', e, '(' .. sum.s, '+inf') - sum.seen
      else
        unread, unseen = unread + live, unseen + live
      end
    end
  end
  return unread, unseen
end

-- Channels that are given as ARGV[from] and behind, swept.
local function scope(from)
  local channels = {}
  for k = from, #ARGV do
    channels[#channels + 1] = ARGV[k]
    sweep(ARGV[k])
  end
  return channels
end

-- One entry as readers get it: channel, place, id, content, createdAt, expiresAt, times, replaces, mark.
local function push_entry(out, channel, place, mark)
  local id, times, replaces = string.match(call('HGET', P .. 'l:' .. channel, place), '^(%S+) (%d+) (%S*) %d*$')
  local note = call('HMGET', P .. 'n:' .. id, 'content', 'createdAt', 'expiresAt')
  local n = #out
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = channel, place, id, note[1]
  out[n + 5], out[n + 6], out[n + 7], out[n + 8], out[n + 9] = note[2], note[3] or '', times, replaces, mark or ''
end
