-- Sets marks of a user, with one state event if anything changed.
-- KEYS, ARGV[1]–[5]: see prelude; ARGV[6] user; ARGV[7] op: read, unread, seen or archived
-- ARGV[8] a place: everything up to it in the channels ARGV[9] …; or empty: the entries ARGV[9] … given as channel, id, channel, id …
-- Result: { place, how many changed, seq of the state event or of the head }
local user, op, upto = ARGV[6], ARGV[7], ARGV[8]
local changed, ids = 0, {}

local function mark(channel, places)
  local m, done, seen = marks_of(user, channel)
  local first = seen == 0
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
        if is_done(mine) and not was then done = done + 1 elseif was and not is_done(mine) then done = done - 1 end
        fields[#fields + 1], fields[#fields + 2] = place, mine
        changed = changed + 1
        if upto == '' then ids[place] = true end
      end
    end
    if #fields > 0 then call('HSET', m, unpack(fields)) end
  end)
  if changed == 0 then return end
  call('HSET', m, '#', done)
  if first then
    call('HSET', m, '@', call('HGET', P .. 'i:' .. channel, 'r') or '0')
    call('SADD', P .. 'u:' .. user, channel)
  end
  if ARGV[3] ~= '0' then call('PEXPIRE', m, ARGV[3]) end
end

local own = 'user:' .. user
if upto ~= '' then
  for k = 9, #ARGV do
    local channel = ARGV[k]
    sweep(channel)
    local before = changed
    changed = 0
    mark(channel, call('ZRANGEBYSCORE', P .. 'e:' .. channel, '-inf', upto))
    changed = before + changed
  end
else
  local named, places, seen = {}, {}, {}
  for k = 9, #ARGV, 2 do
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
