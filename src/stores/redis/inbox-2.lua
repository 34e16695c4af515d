-- One page of an inbox, newest first, with its counts.
-- KEYS, ARGV[1]–[5]: see prelude; ARGV[6] user; ARGV[7] all, unread or archived; ARGV[8] most items; ARGV[9] place that all are older
--   than, or empty; ARGV[10] … channels
-- Result: { place, head, 1 where more follows, unread, unseen, for each item an entry (see push_entry) }
local user, status, limit, before = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local channels = scope(10)
local found = {}
for _, channel in ipairs(channels) do
  local m, done, seen = marks_of(user, channel)
  local wanted, from = 0, before ~= '' and ('(' .. before) or '+inf'
  -- Where nothing is marked there is nothing archived.
  while wanted <= limit and not (status == 'archived' and done == 0) do
    local part = call('ZREVRANGEBYSCORE', P .. 'e:' .. channel, from, '-inf', 'LIMIT', 0, 200)
    if #part == 0 then break end
    local marks = seen > 0 and call('HMGET', m, unpack(part)) or {}
    for k, place in ipairs(part) do
      local mark = marks[k]
      local archived = mark and string.sub(mark, -1) == '1'
      local fits = archived
      if status ~= 'archived' then
        fits = not archived and (status == 'all' or not mark or string.sub(mark, 1, 2) == '- ')
      end
      if fits and wanted <= limit then
        wanted = wanted + 1
        found[#found + 1] = { tonumber(place), channel, place, mark }
      end
    end
    from = '(' .. part[#part]
  end
end
table.sort(found, function(a, b) return a[1] > b[1] end)
local unread, unseen = count(user, channels)
local out = { '', str(seq), #found > limit and 1 or 0, unread, unseen }
for k = 1, math.min(limit, #found) do push_entry(out, found[k][2], found[k][3], found[k][4]) end
out[1] = finish()
return out
