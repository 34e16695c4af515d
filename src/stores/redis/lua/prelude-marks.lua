-- What a user has seen, read and archived in a channel, and the counts that follow from it.

-- For each level, whether a mark reaches it.
local LEVELS = {
  d = function(mark) return mark and is_done(mark) end,
  r = function(mark) return mark and string.sub(mark, 1, 2) ~= '- ' end,
  s = function(mark) return mark end,
  a = function(mark) return mark and string.sub(mark, -1) == '1' end
}

-- Raises the levels of a summary as far as the marks reach them.
local function raise(channel, m, sum)
  for level, holds in pairs(LEVELS) do
    local size, n, part = 8, 0, nil
    repeat
      local above = '(' .. sum[level]
      part = call('ZRANGEBYSCORE', P .. 'e:' .. channel, above, '+inf', 'LIMIT', 0, size)
      local marks = #part > 0 and call('HMGET', m, unpack(part)) or {}
      n = 0
      while n < #part and holds(marks[n + 1]) do n = n + 1 end
      if n > 0 then sum[level] = part[n] end
      if level == 'd' then sum.done = sum.done - n
      elseif level == 's' then sum.seen = sum.seen - n end
      size = 256
    until n < #part or n == 0
  end
end

local function empty_sum()
  return { done = 0, seen = 0, z = 0, d = '0', r = '0', s = '0', a = '0' }
end

local function sum_fields(sum, r)
  return '@', '-', '!', r, '#', sum.done, '~', sum.seen, 'z', sum.z,
    'd', sum.d, 'r', sum.r, 's', sum.s, 'a', sum.a
end

-- Counts again the marks above the levels of a summary, after entries have left the channel.
local function recount(e, m, sum)
  sum.done, sum.seen = 0, 0
  chunks(call('ZRANGEBYSCORE', e, '(' .. sum.d, '+inf'), function(part)
    for k, mark in ipairs(call('HMGET', m, unpack(part))) do
      if mark then
        if is_done(mark) then sum.done = sum.done + 1 end
        if tonumber(part[k]) > tonumber(sum.s) then sum.seen = sum.seen + 1 end
      end
    end
  end)
end

-- Counts all marks of a channel into an empty summary.
local function count_marks(e, m, sum)
  local all, seqs, marks = call('HGETALL', m), {}, {}
  for k = 1, #all, 2 do
    if string.find(all[k], '^%d') then
      seqs[#seqs + 1] = all[k]
      marks[all[k]] = all[k + 1]
    end
  end
  chunks(seqs, function(part)
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

-- A user's marks in a channel: their key and their summary, nil without marks. The summary says how
-- far the user is: all live entries up to d are read or archived, up to r read, up to s seen, up to
-- a archived. Counting and listing look only at the entries above. Removing an entry makes no level
-- false, and a new one is above all. # and ~ count the marks above d and s, as of removal number !;
-- z counts the archived ones, also of entries that are gone. Earlier versions kept such a number in
-- @, with the count of all read or archived marks in #; '-' makes them count for themselves.
local sums = {}
local function marks_of(user, channel)
  local m = P .. 'm:' .. user .. ' ' .. channel
  if sums[m] then return m, sums[m] end
  local f = call('HMGET', m, '!', '#', '~', 'z', 'd', 'r', 's', 'a', '@')
  if not f[1] and not f[9] then return m, nil end
  local r = call('HGET', P .. 'i:' .. channel, 'r') or '0'
  local e = P .. 'e:' .. channel
  local sum = empty_sum()
  sums[m] = sum
  if f[1] then
    sum.done, sum.seen, sum.z = tonumber(f[2]), tonumber(f[3]), tonumber(f[4])
    sum.d, sum.r, sum.s, sum.a = f[5], f[6], f[7], f[8]
    -- Marks that were not counted cannot have lost their entries.
    if f[1] == r or (sum.done == 0 and sum.seen == 0) then return m, sum end
    recount(e, m, sum)
  else count_marks(e, m, sum) end
  raise(channel, m, sum)
  -- The summary only saves work for the next call: a full Redis is no reason to refuse a read.
  redis.pcall('HSET', m, sum_fields(sum, r))
  return m, sum
end

-- Unread and unseen entries over channels, exactly. The channels have been swept.
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

-- The channels in ARGV[from] and after it, swept.
local function scope(from)
  local channels = {}
  for k = from, #ARGV do
    channels[#channels + 1] = ARGV[k]
    sweep(ARGV[k])
  end
  return channels
end

-- Adds an entry to a reply: channel, seq, id, content, createdAt, expiresAt, times, replaces, mark.
local function push_entry(out, channel, seq, mark)
  local about = call('HGET', P .. 'l:' .. channel, seq)
  local id, times, replaces = string.match(about, '^(%S+) (%d+) (%S*) %d*$')
  local note = call('HMGET', P .. 'n:' .. id, 'content', 'createdAt', 'expiresAt')
  local n = #out
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = channel, seq, id, note[1]
  out[n + 5], out[n + 6], out[n + 7], out[n + 8] = note[2], note[3] or '', times, replaces
  out[n + 9] = mark or ''
end
