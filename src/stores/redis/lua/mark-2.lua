-- Sets marks of a user, with one state event if anything changed.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua; ARGV[6] user; ARGV[7] op: read, unread, seen or archived
-- ARGV[8] a place: everything up to it in the channels ARGV[10] …; or empty: the entries ARGV[10] … given as channel, id, channel, id …
-- ARGV[9] for a place, how far an earlier call has come: "channel after changed", the first from 1, the second '-' for the beginning
-- Result: { place, how many changed, seq of the state event or of the head }, or { place, how many changed so far, 0, how far it has
--   come } where there is more than one call takes: then there is no event yet
local user, op, upto = ARGV[6], ARGV[7], ARGV[8]
local changed, ids = 0, {}

-- Marks of entries that have gone are taken out when there are more of them than entries.
local function tidy(channel, m, sum)
  local e = P .. 'e:' .. channel
  if call('HLEN', m) <= 2 * call('ZCARD', e) + 100 then return end
  local places = {}
  for _, field in ipairs(call('HKEYS', m)) do
    if string.find(field, '^%d') then places[#places + 1] = field end
  end
  sum.z = 0
  chunks(places, function(part)
    local gone = {}
    local marks = call('HMGET', m, unpack(part))
    for k, live in ipairs(call('ZMSCORE', e, unpack(part))) do
      if not live then gone[#gone + 1] = part[k]
      elseif LEVELS.a(marks[k]) then sum.z = sum.z + 1 end
    end
    if #gone > 0 then call('HDEL', m, unpack(gone)) end
  end)
end

local function mark(channel, places)
  local m, sum = marks_of(user, channel)
  local first = not sum
  sum = sum or { done = 0, seen = 0, z = 0, d = '0', r = '0', s = '0', a = '0' }
  local e = P .. 'e:' .. channel
  local shared = not personal(channel)
  chunks(places, function(part)
    local old = call('HMGET', m, unpack(part))
    local fields = {}
    for k, place in ipairs(part) do
      local read, archived = '-', '0'
      if old[k] then read, archived = string.match(old[k], '^(%S+) (%d)$') end
      local nothing
      if op == 'read' then nothing = read ~= '-'
      elseif op == 'unread' then nothing = archived == '1' or read == '-'
      elseif op == 'seen' then nothing = old[k]
      else nothing = archived == '1' end
      if not nothing then
        fence()
        local was = old[k] and is_done(old[k])
        local r = P .. 'r:' .. channel
        if shared then
          if not old[k] then call('HINCRBY', r, place .. 's', 1) end
          if op == 'read' then call('HINCRBY', r, place .. 'r', 1)
          elseif op == 'unread' then call('HINCRBY', r, place .. 'r', -1)
          elseif op == 'archived' then call('HINCRBY', r, place .. 'a', 1) end
        end
        if op == 'read' then read = str(NOW) elseif op == 'unread' then read = '-' elseif op == 'archived' then archived = '1' end
        local mine = read .. ' ' .. archived
        if not old[k] then sum.seen = sum.seen + 1 end
        if op == 'archived' then sum.z = sum.z + 1 end
        local at = tonumber(place)
        if op == 'unread' then
          -- All between here and the level are done, and lie above it from now on.
          if at <= tonumber(sum.d) then
            sum.done = sum.done + call('ZCOUNT', e, '(' .. place, sum.d)
            sum.d = str(at - 1)
          else sum.done = sum.done - 1 end
          if at <= tonumber(sum.r) then sum.r = str(at - 1) end
        elseif is_done(mine) and not was then sum.done = sum.done + 1 end
        fields[#fields + 1], fields[#fields + 2] = place, mine
        changed = changed + 1
        if upto == '' then ids[place] = true end
      end
    end
    if #fields > 0 then call('HSET', m, unpack(fields)) end
  end)
  if changed == 0 then return end
  raise(channel, m, sum)
  if first then call('SADD', P .. 'u:' .. user, channel) end
  tidy(channel, m, sum)
  call('HSET', m, sum_fields(sum, call('HGET', P .. 'i:' .. channel, 'r') or '0'))
  if ARGV[3] ~= '0' then call('PEXPIRE', m, ARGV[3]) end
end

-- What lies below needs no look: the operation would change nothing there.
local function from(channel)
  local level = ({ read = 'r', seen = 's', archived = 'a' })[op]
  local _, sum = marks_of(user, channel)
  return level and sum and '(' .. sum[level] or '-inf'
end

local own = 'user:' .. user
if upto ~= '' then
  local first, after, total = string.match(ARGV[9], '^(%d+) (%S+) (%d+)$')
  local room = SLICE
  total = tonumber(total)
  for k = tonumber(first), #ARGV - 9 do
    local channel = ARGV[9 + k]
    sweep(channel)
    local begin = after == '-' and from(channel) or '(' .. after
    local places = call('ZRANGEBYSCORE', P .. 'e:' .. channel, begin, upto, 'LIMIT', 0, room)
    changed = 0
    mark(channel, places)
    total = total + changed
    if #places == room then return { finish(), total, 0, k .. ' ' .. places[room] .. ' ' .. total } end
    room = room - #places
    after = '-'
  end
  changed = total
else
  local named, places, seen = {}, {}, {}
  for k = 10, #ARGV, 2 do
    local channel, id = ARGV[k], ARGV[k + 1]
    sweep(channel)
    local place = call('HGET', P .. 'n:' .. id, 'c:' .. channel)
    if place and not seen[place] then
      seen[place] = true
      named[#named + 1] = { id, place }
      places[channel] = places[channel] or {}
      places[channel][#places[channel] + 1] = place
    end
  end
  local total = 0
  for channel, list in pairs(places) do
    changed = 0
    mark(channel, list)
    total = total + changed
  end
  changed = total
  local list = {}
  for _, one in ipairs(named) do if ids[one[2]] then list[#list + 1] = one[1] end end
  ids = table.concat(list, ' ')
end
if changed == 0 then return { finish(), 0, seq } end
local place = append_state(own, op, upto ~= '' and upto or '-', upto ~= '' and '*' or ids)
return { finish(), changed, tonumber(place) }
