-- Entries that come to a channel, and that leave it: removed, retracted, expired or beyond
-- retention.

-- Whether a mark says read or archived.
local function is_done(mark)
  return string.sub(mark, 1, 2) ~= '- ' or string.sub(mark, -1) == '1'
end

-- Stores a notification: a table of id, to, content, key, created, expires and producer, all text
-- and empty if missing. `entries`: how many it gets; `first`: the first of its channels.
local function add_notification(note, entries, first)
  local fields = {
    'to', note.to, 'content', note.content, 'createdAt', note.created, 'producer', note.producer,
    'places', entries
  }
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if note.expires ~= '' then add('expiresAt', note.expires) end
  if note.key ~= '' then add('key', note.key) end
  if not personal(first) then add('shared', first) end
  call('HSET', P .. 'n:' .. note.id, unpack(fields))
end

-- Puts an entry of a notification into a channel. `about`: "times replaces replaced".
local function add_entry(note, channel, seq, about)
  call('ZADD', P .. 'e:' .. channel, seq, seq)
  call('HSET', P .. 'l:' .. channel, seq, note.id .. ' ' .. about)
  call('HSET', P .. 'n:' .. note.id, 'c:' .. channel, seq)
  call('ZADD', P .. 'a:', 'LT', note.created, channel)
  if note.key ~= '' then call('HSET', P .. 'k:' .. channel, note.key, seq) end
  if note.expires ~= '' then
    call('ZADD', P .. 'x:' .. channel, note.expires, seq)
    call('ZADD', P .. 'x:', 'LT', note.expires, channel)
  end
end

-- Removes an entry from its channel, and with its last entry the notification.
local function remove(channel, seq)
  fence()
  if call('ZREM', P .. 'e:' .. channel, seq) == 0 then return end
  local l = P .. 'l:' .. channel
  -- Redis may have evicted what belongs to the entry: that must not stop the script halfway.
  local id = string.match(call('HGET', l, seq) or '', '^%S+') or ''
  call('HDEL', l, seq)
  local note = P .. 'n:' .. id
  local about = call('HMGET', note, 'key', 'expiresAt')
  if about[1] then
    local k = P .. 'k:' .. channel
    if call('HGET', k, about[1]) == seq then call('HDEL', k, about[1]) end
  end
  if about[2] then call('ZREM', P .. 'x:' .. channel, seq) end
  if not personal(channel) then
    call('HDEL', P .. 'r:' .. channel, seq .. 's', seq .. 'r', seq .. 'a')
  end
  removals = removals + 1
  call('HSET', P .. 'i:' .. channel, 'r', str(removals))
  call('HDEL', note, 'c:' .. channel)
  if call('HINCRBY', note, 'places', -1) <= 0 then call('DEL', note) end
end

-- Notes that the events of a channel are incomplete up to a seq.
local function raise_floor(channel, seq)
  local i = P .. 'i:' .. channel
  if tonumber(seq) > tonumber(call('HGET', i, 'floor') or 0) then call('HSET', i, 'floor', seq) end
end

-- Removes the oldest state events of a channel beyond retention.
local function prune_states(channel)
  if KEEP == 0 then return end
  local t = P .. 't:' .. channel
  local n = call('ZCARD', t)
  if n <= math.floor(KEEP * 1.5) then return end
  local last = call('ZRANGE', t, n - KEEP - 1, n - KEEP - 1, 'WITHSCORES')
  raise_floor(channel, str(tonumber(last[2])))
  call('ZREMRANGEBYRANK', t, 0, n - KEEP - 1)
end

-- Removes an entry before its time. If it replaced an earlier entry, a client that was offline may
-- still show the earlier one: a state event with the seq of this entry says that it is gone.
local function retract(channel, seq)
  local about = call('HGET', P .. 'l:' .. channel, seq)
  if not about then return remove(channel, seq) end
  local id, replaces, replaced = string.match(about, '^(%S+) %d+ (%S*) (%d*)$')
  if replaces == '' then return remove(channel, seq) end
  local created = call('HGET', P .. 'n:' .. id, 'createdAt') or str(NOW)
  remove(channel, seq)
  local event = seq .. ' ' .. created .. ' ' .. replaced .. ' removed - ' .. replaces
  call('ZADD', P .. 't:' .. channel, seq, event)
  call('ZADD', P .. 'a:', 'LT', created, channel)
  prune_states(channel)
end

-- Notes when the next entry of a channel expires.
local function note_next_expiry(channel)
  local soonest = call('ZRANGE', P .. 'x:' .. channel, 0, 0, 'WITHSCORES')
  if soonest[2] then call('ZADD', P .. 'x:', soonest[2], channel)
  else call('ZREM', P .. 'x:', channel) end
end

-- Removes expired entries, so that no page and no count contains them.
local function sweep(channel)
  local due = call('ZRANGEBYSCORE', P .. 'x:' .. channel, '-inf', str(NOW))
  if #due == 0 then return end
  for _, seq in ipairs(due) do retract(channel, seq) end
  -- Includes those whose entries Redis has evicted.
  call('ZREMRANGEBYSCORE', P .. 'x:' .. channel, '-inf', str(NOW))
  emit('d', channel, '', '')
  note_next_expiry(channel)
end

-- Removes the oldest entries when there are half as many again as retention keeps. When many
-- channels are full at once, as those of a thousand recipients may be, the others wait for a later
-- call, until they have twice as many.
local function prune(channel)
  if KEEP == 0 then return end
  local most = math.floor(KEEP * 1.5)
  local e = P .. 'e:' .. channel
  local n = call('ZCARD', e)
  if n <= most or (removals - removals_before > 2 * SLICE and n < 2 * KEEP) then return end
  local old = call('ZRANGE', e, 0, n - KEEP - 1)
  for _, seq in ipairs(old) do remove(channel, seq) end
  raise_floor(channel, old[#old])
  emit('d', channel, '', '')
end

-- Appends a state event and returns its seq.
local function append_state(channel, op, upto, ids)
  local seq = emit('s', channel, op .. ' ' .. upto, ids)
  local event = seq .. ' ' .. str(NOW) .. ' 0 ' .. op .. ' ' .. upto .. ' ' .. ids
  call('ZADD', P .. 't:' .. channel, seq, event)
  call('ZADD', P .. 'a:', 'LT', str(NOW), channel)
  prune_states(channel)
  return seq
end
