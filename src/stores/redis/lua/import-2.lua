-- Fills a log that nobody follows, from an archive: nothing is announced.
-- KEYS, ARGV[1]–[5]: see prelude-log.lua
-- ARGV[6] … records, one after the other:
--   n, id, to, content, collapse key, createdAt, expiresAt, producer, number of places, then for each of
--      them: channel, times, replaces; what a record does not have is empty
--   m, user, id, "readAt archived"
--   y, key, "fingerprint id createdAt", milliseconds that it is still kept
--   z, user, moment of the revocation
-- Result: { place }, or { place, number of the record that cannot be taken, why }; what stands before it has been taken
local at, record = 6, 0
local function fault(why)
  appended = true
  return { finish(), record, why }
end

while at <= #ARGV do
  local kind = ARGV[at]
  if kind == 'n' then
    local id, content, key, created, expires = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
    local lie, first = tonumber(ARGV[at + 8]), at + 9
    local note = P .. 'n:' .. id
    if call('EXISTS', note) == 1 then return fault('the notification ' .. id .. ' stands in an earlier line, too') end
    local fields = { 'to', ARGV[at + 2], 'content', content, 'createdAt', created, 'producer', ARGV[at + 7], 'places', lie }
    if expires ~= '' then fields[#fields + 1] = 'expiresAt'; fields[#fields + 1] = expires end
    if key ~= '' then fields[#fields + 1] = 'key'; fields[#fields + 1] = key end
    if not personal(ARGV[first]) then fields[#fields + 1] = 'shared'; fields[#fields + 1] = ARGV[first] end
    call('HSET', note, unpack(fields))
    for k = first, first + 3 * (lie - 1), 3 do
      local channel = ARGV[k]
      if key ~= '' and call('HEXISTS', P .. 'k:' .. channel, key) == 1 then
        return fault('an earlier line has the key ' .. key .. ' in ' .. channel .. ', too')
      end
      seq, sub = seq + 1, 0
      local place = str(seq)
      call('ZADD', P .. 'e:' .. channel, place, place)
      -- What it took the place of lay in another log: nobody comes from there, so its own place will do.
      local replaced = ARGV[k + 2] ~= '' and place or ''
      call('HSET', P .. 'l:' .. channel, place, id .. ' ' .. ARGV[k + 1] .. ' ' .. ARGV[k + 2] .. ' ' .. replaced)
      call('HSET', note, 'c:' .. channel, place)
      call('ZADD', P .. 'a:', 'LT', created, channel)
      if key ~= '' then call('HSET', P .. 'k:' .. channel, key, place) end
      if expires ~= '' then
        call('ZADD', P .. 'x:' .. channel, expires, place)
        call('ZADD', P .. 'x:', 'LT', expires, channel)
      end
    end
    at = first + 3 * lie
  elseif kind == 'm' then
    local user, id, mark = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local note = P .. 'n:' .. id
    if call('EXISTS', note) == 0 then return fault('no line before it has the notification ' .. id) end
    local channel = call('HGET', note, 'shared') or ('user:' .. user)
    local place = call('HGET', note, 'c:' .. channel)
    if not place then return fault('the notification ' .. id .. ' is not for the user ' .. user) end
    -- Counted anew by who looks first: no removal has the number -1.
    call('HSET', P .. 'm:' .. user .. ' ' .. channel, place, mark, '@', '-1', '#', '0')
    if ARGV[3] ~= '0' then call('PEXPIRE', P .. 'm:' .. user .. ' ' .. channel, ARGV[3]) end
    call('SADD', P .. 'u:' .. user, channel)
    if not personal(channel) then
      local r = P .. 'r:' .. channel
      call('HINCRBY', r, place .. 's', 1)
      if string.sub(mark, 1, 2) ~= '- ' then call('HINCRBY', r, place .. 'r', 1) end
      if string.sub(mark, -1) == '1' then call('HINCRBY', r, place .. 'a', 1) end
    end
    at = at + 4
  elseif kind == 'y' then
    call('SET', P .. 'y:' .. ARGV[at + 1], ARGV[at + 2], 'PX', ARGV[at + 3])
    at = at + 4
  else
    call('HSET', P .. 'z:', ARGV[at + 1], ARGV[at + 2])
    at = at + 3
  end
  record = record + 1
end
appended = true
return { finish() }
