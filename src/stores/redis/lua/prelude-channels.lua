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

