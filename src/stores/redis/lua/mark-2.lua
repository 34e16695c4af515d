-- Sets marks of a user, with one state event if anything changed.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user; ARGV[7] op: read, unread, seen or archived
-- ARGV[8] a seq: everything up to it in the channels ARGV[10] …; or empty: the entries ARGV[10] …,
-- given as
--   channel, id, channel, id …
-- ARGV[9] with a seq, the progress of earlier calls: "channel after changed"; the first is an index
-- from 1, the
--   second '-' at the start
-- Returns { id, how many changed, seq of the state event, or of the head if there is none }, or if
-- one call is
--   not enough { id, how many changed so far, 0, progress }: the event comes with the last call
local user, op, upto = ARGV[6], ARGV[7], ARGV[8]
-- Marks that a call of mark() changed, and the seqs of those that were given by their ids.
local changed, changed_seqs = 0, {}

-- Deletes the marks of entries that are gone when there are more of them than entries.
local function tidy(channel, m, sum)
  local e = P .. 'e:' .. channel
  if call('HLEN', m) <= 2 * call('ZCARD', e) + 100 then return end
  local seqs = {}
  for _, field in ipairs(call('HKEYS', m)) do
    if string.find(field, '^%d') then seqs[#seqs + 1] = field end
  end
  sum.z = 0
  chunks(seqs, function(part)
    local gone = {}
    local marks = call('HMGET', m, unpack(part))
    for k, live in ipairs(call('ZMSCORE', e, unpack(part))) do
      if not live then gone[#gone + 1] = part[k]
      elseif LEVELS.a(marks[k]) then sum.z = sum.z + 1 end
    end
    if #gone > 0 then call('HDEL', m, unpack(gone)) end
  end)
end

-- Whether the op would leave a mark as it is. `old` is false without a mark.
local function unchanged(old, read, archived)
  if op == 'read' then return read ~= '-' end
  if op == 'unread' then return archived == '1' or read == '-' end
  if op == 'seen' then return old end
  return archived == '1'
end

-- Counts the readers of a shared entry.
local function count_reader(channel, seq, old)
  local r = P .. 'r:' .. channel
  if not old then call('HINCRBY', r, seq .. 's', 1) end
  if op == 'read' then call('HINCRBY', r, seq .. 'r', 1)
  elseif op == 'unread' then call('HINCRBY', r, seq .. 'r', -1)
  elseif op == 'archived' then call('HINCRBY', r, seq .. 'a', 1) end
end

-- Updates a summary for one mark that changes from `old` to `new`.
local function update_sum(sum, e, seq, old, new)
  if not old then sum.seen = sum.seen + 1 end
  if op == 'archived' then sum.z = sum.z + 1 end
  local at = tonumber(seq)
  if op == 'unread' then
    -- All entries from here to the level are done, and are above it from now on.
    if at <= tonumber(sum.d) then
      sum.done = sum.done + call('ZCOUNT', e, '(' .. seq, sum.d)
      sum.d = str(at - 1)
    else sum.done = sum.done - 1 end
    if at <= tonumber(sum.r) then sum.r = str(at - 1) end
  elseif is_done(new) and not (old and is_done(old)) then sum.done = sum.done + 1 end
end

-- Applies the op to entries of a channel.
local function mark(channel, seqs)
  local m, sum = marks_of(user, channel)
  local first = not sum
  sum = sum or empty_sum()
  local e = P .. 'e:' .. channel
  local shared = not personal(channel)
  chunks(seqs, function(part)
    local marks = call('HMGET', m, unpack(part))
    local fields = {}
    for k, seq in ipairs(part) do
      local old, read, archived = marks[k], '-', '0'
      if old then read, archived = string.match(old, '^(%S+) (%d)$') end
      if not unchanged(old, read, archived) then
        fence()
        if shared then count_reader(channel, seq, old) end
        if op == 'read' then read = str(NOW)
        elseif op == 'unread' then read = '-'
        elseif op == 'archived' then archived = '1' end
        local new = read .. ' ' .. archived
        update_sum(sum, e, seq, old, new)
        fields[#fields + 1], fields[#fields + 2] = seq, new
        changed = changed + 1
        if upto == '' then changed_seqs[seq] = true end
      end
    end
    if #fields > 0 then call('HSET', m, unpack(fields)) end
  end)
  if changed == 0 then return end
  raise(channel, m, sum)
  if first then call('SADD', P .. 'u:' .. user, channel) end
  tidy(channel, m, sum)
  call('HSET', m, sum_fields(sum, call('HGET', P .. 'i:' .. channel, 'r') or '0'))
  if ARGV[3] ~= '0' then call('PEXPIRE', m, ARGV[3]) end
end

-- Where to start in a channel: the op would change nothing below.
local function from(channel)
  local level = ({ read = 'r', seen = 's', archived = 'a' })[op]
  local _, sum = marks_of(user, channel)
  return level and sum and '(' .. sum[level] or '-inf'
end

-- Marks everything up to a seq. Returns how many changed, and the progress if one call is not
-- enough.
local function mark_up_to()
  local first, after, total = string.match(ARGV[9], '^(%d+) (%S+) (%d+)$')
  local room = SLICE
  total = tonumber(total)
  for k = tonumber(first), #ARGV - 9 do
    local channel = ARGV[9 + k]
    sweep(channel)
    local begin = after == '-' and from(channel) or '(' .. after
    local seqs = call('ZRANGEBYSCORE', P .. 'e:' .. channel, begin, upto, 'LIMIT', 0, room)
    changed = 0
    mark(channel, seqs)
    total = total + changed
    if #seqs == room then return total, k .. ' ' .. seqs[room] .. ' ' .. total end
    room = room - #seqs
    after = '-'
  end
  return total
end

-- Marks the entries that were given. Returns how many changed, and the ids of those.
local function mark_ids()
  local named, seqs, known, total = {}, {}, {}, 0
  for k = 10, #ARGV, 2 do
    local channel, id = ARGV[k], ARGV[k + 1]
    sweep(channel)
    local seq = call('HGET', P .. 'n:' .. id, 'c:' .. channel)
    if seq and not known[seq] then
      known[seq] = true
      named[#named + 1] = { id, seq }
      seqs[channel] = seqs[channel] or {}
      seqs[channel][#seqs[channel] + 1] = seq
    end
  end
  for channel, list in pairs(seqs) do
    changed = 0
    mark(channel, list)
    total = total + changed
  end
  local ids = {}
  for _, one in ipairs(named) do
    if changed_seqs[one[2]] then ids[#ids + 1] = one[1] end
  end
  return total, table.concat(ids, ' ')
end

local total, progress, ids
if upto ~= '' then total, progress = mark_up_to() else total, ids = mark_ids() end
if progress then return { finish(), total, 0, progress } end
if total == 0 then return { finish(), 0, head } end
local seq = append_state('user:' .. user, op, upto ~= '' and upto or '-', ids or '*')
return { finish(), total, tonumber(seq) }
