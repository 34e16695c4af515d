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
