-- A page of the log for one user, in order.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user; ARGV[7] seq to read after; ARGV[8] most events; ARGV[9] most bytes of them, unless
-- there is only one; ARGV[10] … channels
-- Returns { } if the log does not hold everything after that seq; else { id, upTo, 1 if more
-- follows, unread, unseen, 1 if the client's counts may differ from what the events lead to, for
-- each event "n" and an entry (see push_entry), or "s", channel, seq, op, upTo, ids }
local user, after, limit = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local channels = scope(10)
local function gap()
  finish()
  return {}
end

if after > head or after < tonumber(call('HGET', S, 'floor') or 0) then return gap() end
if is_fenced(after) then return gap() end
local found, counts_differ = {}, false
for _, channel in ipairs(channels) do
  local info = call('HMGET', P .. 'i:' .. channel, 'floor', 'd')
  if after < tonumber(info[1] or 0) then return gap() end
  counts_differ = counts_differ or after < tonumber(info[2] or 0)
  if not personal(channel) then
    counts_differ = counts_differ or call('ZSCORE', P .. 'e:' .. channel, ARGV[7])
      or call('ZCOUNT', P .. 't:' .. channel, ARGV[7], ARGV[7]) > 0
  end
  local from = '(' .. ARGV[7]
  local entries = call('ZRANGEBYSCORE', P .. 'e:' .. channel, from, '+inf', 'LIMIT', 0, limit + 1)
  for _, seq in ipairs(entries) do
    found[#found + 1] = { tonumber(seq), channel, seq }
  end
  local wanted, offset = 0, 0
  while wanted <= limit do
    local t = P .. 't:' .. channel
    local part = call('ZRANGEBYSCORE', t, from, '+inf', 'LIMIT', offset, limit + 1)
    if #part == 0 then break end
    offset = offset + #part
    for _, event in ipairs(part) do
      local seq, since = string.match(event, '^(%d+) %d+ (%d+)')
      if tonumber(since) <= after then
        wanted = wanted + 1
        found[#found + 1] = { tonumber(seq), channel, nil, event }
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
    local seq, op, upto, ids = string.match(one[4], '^(%d+) %d+ %d+ (%S+) (%S+) (.*)$')
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = 's', one[2], seq
    out[n + 4], out[n + 5], out[n + 6] = op, upto, ids
  else
    out[#out + 1] = 'n'
    local mark = call('HGET', P .. 'm:' .. user .. ' ' .. one[2], one[3])
    push_entry(out, one[2], one[3], mark)
  end
  for n = start + 1, #out do bytes = bytes + #tostring(out[n]) end
  if bytes > tonumber(ARGV[9]) and k > 1 then
    for n = #out, start + 1, -1 do out[n] = nil end
    break
  end
  last = k
end
local more = last < #found
local upto = more and found[last][1] or head
out[2], out[3] = str(upto), more and 1 or 0
out[6] = counts_differ and upto > after and 1 or 0
out[1] = finish()
return out
