-- Removes expired entries and those beyond retention, a slice at a time.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] time before which entries are beyond retention, or empty
-- Returns { id, when the next entry expires or empty, 1 if more is beyond retention, floor }
fence()
for _, channel in ipairs(call('ZRANGEBYSCORE', P .. 'x:', '-inf', str(NOW), 'LIMIT', 0, 20)) do
  if removals - removals_before > SLICE then break end
  sweep(channel)
  -- Without a sweep too, if what was to expire was recalled before.
  note_next_expiry(channel)
end
local more, floor = 0, tonumber(call('HGET', S, 'floor') or 0)
if ARGV[6] ~= '' then
  local cutoff, left = tonumber(ARGV[6]), 500
  local channels = call('ZRANGEBYSCORE', P .. 'a:', '-inf', '(' .. ARGV[6], 'LIMIT', 0, 100)
  for _, channel in ipairs(channels) do
    if left <= 0 then
      more = 1
      break
    end
    local e, t = P .. 'e:' .. channel, P .. 't:' .. channel
    local oldest, dropped = nil, false
    while left > 0 do
      local seq = call('ZRANGE', e, 0, 0)[1]
      if not seq then break end
      local id = string.match(call('HGET', P .. 'l:' .. channel, seq) or '', '^%S+') or ''
      local created = tonumber(call('HGET', P .. 'n:' .. id, 'createdAt') or 0)
      if created >= cutoff then
        oldest = created
        break
      end
      remove(channel, seq)
      floor, dropped, left = math.max(floor, tonumber(seq)), true, left - 1
    end
    while left > 0 do
      local event = call('ZRANGE', t, 0, 0)[1]
      if not event then break end
      local seq, at = string.match(event, '^(%d+) (%d+)')
      if tonumber(at) >= cutoff then
        oldest = math.min(oldest or math.huge, tonumber(at))
        break
      end
      call('ZREM', t, event)
      floor, left = math.max(floor, tonumber(seq)), left - 1
    end
    if dropped then emit('d', channel, '', '') end
    if left <= 0 then more = 1
    elseif oldest then call('ZADD', P .. 'a:', str(oldest), channel)
    else call('ZREM', P .. 'a:', channel) end
  end
  call('HSET', S, 'floor', str(floor))
end
return { finish(), call('ZRANGE', P .. 'x:', 0, 0, 'WITHSCORES')[2] or '', more, floor }
