-- A slice of the log for one reader, in order.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[6] user; ARGV[7] place to read after; ARGV[8] most events; ARGV[9] most bytes
--   of them, unless there is only one; ARGV[10] … channels
-- Result: { } where the log does not hold everything after it; else { place, upTo, 1 where more follows, unread, unseen, 1 where
--   whoever comes from there may have other counts than the events lead to, for each event
--   "n" and an entry (see push_entry), or "s", channel, seq, op, upTo, ids }
local user, after, limit = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local channels = scope(10)
if after > seq or after < tonumber(call('HGET', S, 'floor') or 0) then finish(); return {} end
for tail, top in string.gmatch(call('HGET', S, 'fences') or '', '(%d+) (%d+);') do
  if after > tonumber(tail) and after < tonumber(top) then finish(); return {} end
end
local found, recount = {}, false
for _, channel in ipairs(channels) do
  local info = call('HMGET', P .. 'i:' .. channel, 'floor', 'd')
  if after < tonumber(info[1] or 0) then finish(); return {} end
  recount = recount or after < tonumber(info[2] or 0)
  if not personal(channel) then
    recount = recount or call('ZSCORE', P .. 'e:' .. channel, ARGV[7]) or call('ZCOUNT', P .. 't:' .. channel, ARGV[7], ARGV[7]) > 0
  end
  local from = '(' .. ARGV[7]
  for _, place in ipairs(call('ZRANGEBYSCORE', P .. 'e:' .. channel, from, '+inf', 'LIMIT', 0, limit + 1)) do
    found[#found + 1] = { tonumber(place), channel, place }
  end
  local wanted, offset = 0, 0
  while wanted <= limit do
    local part = call('ZRANGEBYSCORE', P .. 't:' .. channel, from, '+inf', 'LIMIT', offset, limit + 1)
    if #part == 0 then break end
    offset = offset + #part
    for _, event in ipairs(part) do
      local place, since = string.match(event, '^(%d+) %d+ (%d+)')
      if tonumber(since) <= after then
        wanted = wanted + 1
        found[#found + 1] = { tonumber(place), channel, nil, event }
      end
    end
  end
end
table.sort(found, function(a, b) return a[1] < b[1] end)
local unread, unseen = count(user, channels)
local out = { '', '', 0, unread, unseen, 0 }
local bytes, last = 0, 0
for k = 1, math.min(limit, #found) do
  local one, start = found[k], #out
  if one[4] then
    local place, op, upto, ids = string.match(one[4], '^(%d+) %d+ %d+ (%S+) (%S+) (.*)$')
    local n = #out
    out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5], out[n + 6] = 's', one[2], place, op, upto, ids
  else
    out[#out + 1] = 'n'
    push_entry(out, one[2], one[3], call('HGET', P .. 'm:' .. user .. ' ' .. one[2], one[3]))
  end
  for n = start + 1, #out do bytes = bytes + #tostring(out[n]) end
  if bytes > tonumber(ARGV[9]) and k > 1 then
    for n = #out, start + 1, -1 do out[n] = nil end
    break
  end
  last = k
end
local more = last < #found
local upto = more and found[last][1] or seq
out[2], out[3], out[6] = str(upto), more and 1 or 0, recount and upto > after and 1 or 0
out[1] = finish()
return out
