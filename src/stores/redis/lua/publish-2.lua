-- Appends notifications, in the order given, each with its idempotency, collapse and announcement.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] token of this call; ARGV[7] milliseconds that idempotency keys are kept; then for each item:
--   id, to, content, collapse key, createdAt, expiresAt, "1" where ephemeral, idempotency key, fingerprint, producer,
--   number of channels, the channels; what an item does not have is empty
-- Result: { place, for each item: "a" accepted, "r id createdAt" replayed, "k" key reused, "x" expired }
local before = call('GET', P .. 'o:' .. ARGV[6])
if before then return cmsgpack.unpack(before) end

local out = { '' }
local at = 8
while at <= #ARGV do
  local id, content, key, created, expires = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local idem, fingerprint, first = ARGV[at + 7], ARGV[at + 8], at + 11
  local last = first + tonumber(ARGV[at + 10]) - 1
  local used = idem ~= '' and call('GET', P .. 'y:' .. idem)
  if used then
    local print, old, moment = string.match(used, '^(%S+) (%S+) (%S+)$')
    out[#out + 1] = print == fingerprint and ('r ' .. old .. ' ' .. moment) or 'k'
  elseif expires ~= '' and tonumber(expires) <= NOW then
    out[#out + 1] = 'x'
  else
    if first <= last then fence() end
    if idem ~= '' then call('SET', P .. 'y:' .. idem, fingerprint .. ' ' .. id .. ' ' .. created, 'PX', ARGV[7]) end
    if ARGV[at + 6] == '1' then
      for k = first, last do emit('e', ARGV[k], id .. ' ' .. created .. ' ' .. expires, content) end
    else
      local note = P .. 'n:' .. id
      local fields = { 'to', ARGV[at + 1], 'content', content, 'createdAt', created, 'producer', ARGV[at + 9], 'places', last - first + 1 }
      if expires ~= '' then fields[#fields + 1] = 'expiresAt'; fields[#fields + 1] = expires end
      if key ~= '' then fields[#fields + 1] = 'key'; fields[#fields + 1] = key end
      if not personal(ARGV[first]) then fields[#fields + 1] = 'shared'; fields[#fields + 1] = ARGV[first] end
      call('HSET', note, unpack(fields))
      for k = first, last do
        local channel = ARGV[k]
        local times, replaces, replaced = 0, '', ''
        if key ~= '' then
          sweep(channel)
          local earlier = call('HGET', P .. 'k:' .. channel, key)
          if earlier then
            local old, n = string.match(call('HGET', P .. 'l:' .. channel, earlier) or '', '^(%S+) (%d+)')
            if old then times, replaces, replaced = n + 1, old, earlier end
            take_back(channel, earlier)
          end
        end
        local place = emit('n', channel, id .. ' ' .. created .. ' ' .. expires .. ' ' .. times .. ' ' .. replaces, content)
        call('ZADD', P .. 'e:' .. channel, place, place)
        call('HSET', P .. 'l:' .. channel, place, id .. ' ' .. times .. ' ' .. replaces .. ' ' .. replaced)
        call('HSET', note, 'c:' .. channel, place)
        call('ZADD', P .. 'a:', 'LT', created, channel)
        if key ~= '' then call('HSET', P .. 'k:' .. channel, key, place) end
        if expires ~= '' then
          call('ZADD', P .. 'x:' .. channel, expires, place)
          call('ZADD', P .. 'x:', 'LT', expires, channel)
        end
        prune(channel)
      end
    end
    out[#out + 1] = 'a'
  end
  at = last + 1
end
out[1] = finish()
call('SET', P .. 'o:' .. ARGV[6], cmsgpack.pack(out), 'PX', 15000)
return out
