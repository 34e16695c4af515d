-- One page of an inbox, newest first, with its counts.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] user; ARGV[7] all, unread or archived; ARGV[8] most items; ARGV[9] seq that all items are
-- below, or empty; ARGV[10] … channels
-- Returns { id, head, 1 if more follows, unread, unseen, for each item an entry (see push_entry) }
local user, status, limit, before = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local channels = scope(10)
local e = P .. 'e:'
local from = before ~= '' and ('(' .. before) or '+inf'

-- Each channel with its newest entry, and the seq up to which no entry can be on the page.
local newest_first = {}
for _, channel in ipairs(channels) do
  local first = call('ZREVRANGEBYSCORE', e .. channel, from, '-inf', 'LIMIT', 0, 1)[1]
  local newest = tonumber(first)
  if newest then
    local m, sum = marks_of(user, channel)
    local level = sum and (status == 'unread' and sum.d or status == 'all' and sum.a)
    local floor = tonumber(level or 0)
    local none = status == 'archived' and (not sum or sum.z == 0)
    if newest > floor and not none then
      newest_first[#newest_first + 1] = { newest, channel, floor, sum and m }
    end
  end
end
table.sort(newest_first, function(a, b) return a[1] > b[1] end)

-- A channel is read only if its newest entry may be on the page, or be the first after it.
local found = {}
for _, top in ipairs(limit > 0 and newest_first or {}) do
  local least = #found > limit and found[limit + 1][1] or 0
  if top[1] < least then break end
  local channel, m, size, wanted, at = top[2], top[4], math.min(limit + 1, 200), 0, from
  local above = '(' .. str(math.max(top[3], least))
  repeat
    local part = call('ZREVRANGEBYSCORE', e .. channel, at, above, 'LIMIT', 0, size)
    local marks = m and #part > 0 and call('HMGET', m, unpack(part)) or {}
    for k, seq in ipairs(part) do
      local mark = marks[k]
      local archived = LEVELS.a(mark)
      local fits = archived
      if status ~= 'archived' then
        fits = not archived and (status == 'all' or not LEVELS.r(mark))
      end
      if fits and wanted <= limit then
        wanted = wanted + 1
        found[#found + 1] = { tonumber(seq), channel, seq, mark }
      end
    end
    at = '(' .. (part[#part] or '0')
  until #part < size or wanted > limit
  if wanted > 0 then
    table.sort(found, function(a, b) return a[1] > b[1] end)
    for k = #found, limit + 2, -1 do found[k] = nil end
  end
end
local unread, unseen = count(user, channels)
local out = { '', str(head), #found > limit and 1 or 0, unread, unseen }
for k = 1, math.min(limit, #found) do push_entry(out, found[k][2], found[k][3], found[k][4]) end
out[1] = finish()
return out
