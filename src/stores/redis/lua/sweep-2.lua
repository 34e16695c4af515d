-- Takes out what has expired, and what is older than retention, a slice at a time.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[6] moment before which entries are too old, or empty
-- Result: { place, moment at which the next expires or empty, 1 where more is too old, floor }
fence()
for _, channel in ipairs(call('ZRANGEBYSCORE', P .. 'x:', '-inf', str(NOW), 'LIMIT', 0, 20)) do
  if removals - removals_before > SLICE then break end
  sweep(channel)
  -- What was to expire may have been recalled before.
  note_soonest(channel)
end
local more, floor = 0, tonumber(call('HGET', S, 'floor') or 0)
if ARGV[6] ~= '' then
  local cutoff, left = tonumber(ARGV[6]), 500
  for _, channel in ipairs(call('ZRANGEBYSCORE', P .. 'a:', '-inf', '(' .. ARGV[6], 'LIMIT', 0, 100)) do
    if left <= 0 then
      more = 1
      break
    end
    local e, t = P .. 'e:' .. channel, P .. 't:' .. channel
    local oldest, dropped = nil, false
    while left > 0 do
      local place = call('ZRANGE', e, 0, 0)[1]
      if not place then break end
      local id = string.match(call('HGET', P .. 'l:' .. channel, place) or '', '^%S+') or ''
      local created = tonumber(call('HGET', P .. 'n:' .. id, 'createdAt') or 0)
      if created >= cutoff then
        oldest = created
        break
      end
      remove(channel, place)
      floor, dropped, left = math.max(floor, tonumber(place)), true, left - 1
    end
    while left > 0 do
      local event = call('ZRANGE', t, 0, 0)[1]
      if not event then break end
      local place, at = string.match(event, '^(%d+) (%d+)')
      if tonumber(at) >= cutoff then
        oldest = math.min(oldest or math.huge, tonumber(at))
        break
      end
      call('ZREM', t, event)
      floor, left = math.max(floor, tonumber(place)), left - 1
    end
    if dropped then emit('d', channel, '', '') end
    if left <= 0 then more = 1
    elseif oldest then call('ZADD', P .. 'a:', str(oldest), channel)
    else call('ZREM', P .. 'a:', channel) end
  end
  call('HSET', S, 'floor', str(floor))
end
return { finish(), call('ZRANGE', P .. 'x:', 0, 0, 'WITHSCORES')[2] or '', more, floor }
